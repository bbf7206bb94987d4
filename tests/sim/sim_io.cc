#include "tests/sim/sim_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/check.h"

namespace sluice::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr int32_t kFirstDescriptor = 100000;  // The disk's count from 3.

}  // namespace

SimIo::SimIo(const Options& options, World& world, Network& network, spool::MemoryDisk& disk,
             CallObserver& observer, std::function<void()> wake)
    : options_(options),
      world_(world),
      network_(network),
      disk_(disk),
      observer_(observer),
      wake_(std::move(wake)) {}

// -------------------------------------------------------------------------------------------------
// Operations.

uint64_t SimIo::Key(io::OpId op) {
  uint64_t key = 0;
  static_assert(sizeof(op) == sizeof(key));
  std::memcpy(&key, &op, sizeof(key));
  return key;
}

SimIo::Operation& SimIo::Begin(io::OpId op, Kind kind, int32_t descriptor) {
  std::unique_ptr<Operation>& slot = operations_[Key(op)];
  CHECK(slot == nullptr);  // An id that is in flight.
  slot = std::make_unique<Operation>();
  slot->op = op;
  slot->kind = kind;
  slot->serial = next_serial_++;
  slot->descriptor = descriptor;
  if (descriptor >= kFirstDescriptor) ++SocketOf(descriptor).in_flight;
  return *slot;
}

SimIo::Operation* SimIo::Find(uint64_t key, uint64_t serial) {
  const auto found = operations_.find(key);
  if (found == operations_.end() || found->second->serial != serial) return nullptr;
  return found->second->done ? nullptr : found->second.get();
}

void SimIo::Later(const Operation& operation, Duration low, Duration high,
                  void (SimIo::*act)(Operation&)) {
  world_.After(world_.Delay(low, high),
               [this, act, key = Key(operation.op), serial = operation.serial] {
                 if (Operation* found = Find(key, serial)) (this->*act)(*found);
               });
}

void SimIo::Complete(Operation& operation, int32_t result, bool more, std::string bytes) {
  CHECK(!operation.done);
  io::Completion completion = {.op = operation.op, .result = result, .more = more, .received = {}};
  if (!bytes.empty()) {
    lending_.push_back(std::move(bytes));
    completion.received = std::as_bytes(std::span(lending_.back()));
  }
  completions_.push_back(completion);
  operation.done = !more;
  wake_();
}

// What an operation's id was used for ends where its last completion is taken.
void SimIo::TakeCompletions(std::vector<io::Completion>& completions) {
  EndTurn();
  completions = std::exchange(completions_, {});
  lent_ = std::exchange(lending_, {});
  if (options_.reorders && completions.size() > 1 && world_.Chance(0.3)) {
    const uint64_t salt = world_.random().Next() | 1;
    std::stable_partition(completions.begin(), completions.end(),
                          [salt](const io::Completion& completion) {
                            return ((Key(completion.op) * salt) >> 63) != 0;
                          });
  }
  for (const io::Completion& completion : completions) {
    const auto found = operations_.find(Key(completion.op));
    CHECK(found != operations_.end());
    Operation& operation = *found->second;
    world_.Note("completes", Key(completion.op) ^ uint64_t{options_.shard} << 60,
                static_cast<uint64_t>(static_cast<int64_t>(completion.result)));
    if (operation.kind == Kind::kReceive && !operation.cancelled) {
      const Socket& socket = SocketOf(operation.descriptor);
      socket.connection->Heard(socket.side, completion.received.size());
    }
    if (completion.more) continue;
    CHECK(operation.done);
    if (operation.descriptor >= kFirstDescriptor) {
      Socket& socket = SocketOf(operation.descriptor);
      CHECK(socket.in_flight > 0);
      --socket.in_flight;
      const uint64_t key = Key(operation.op);
      if (socket.receive == key) socket.receive = 0;
      if (socket.send == key) socket.send = 0;
      if (socket.accept == key) socket.accept = 0;
    }
    operations_.erase(found);
  }
}

void SimIo::EndTurn() {
  for (std::string& bytes : lent_) std::memset(bytes.data(), '#', bytes.size());
  lent_.clear();
}

void SimIo::Cancel(io::OpId op) {
  const auto found = operations_.find(Key(op));
  if (found == operations_.end() || found->second->cancelled) return;
  found->second->cancelled = true;  // Whatever it brings from now on, nobody looks at it.
  if (found->second->done) return;
  Later(*found->second, Duration(0), milliseconds(2), &SimIo::DoCancel);
}

void SimIo::DoCancel(Operation& operation) {
  CHECK(operation.cancelled);
  Complete(operation, -ECANCELED);
}

void SimIo::Wait(Instant, std::vector<io::Completion>&) {
  CHECK(!"the simulation takes the turns");
}

// -------------------------------------------------------------------------------------------------
// Sockets.

SimIo::Socket& SimIo::SocketOf(int32_t descriptor) {
  CHECK(descriptor >= kFirstDescriptor);
  CHECK(static_cast<size_t>(descriptor - kFirstDescriptor) < sockets_.size());
  Socket& socket = sockets_[static_cast<size_t>(descriptor - kFirstDescriptor)];
  CHECK(socket.open);
  return socket;
}

int32_t SimIo::NewSocket() {
  ++open_sockets_;
  int32_t descriptor = 0;
  if (!free_descriptors_.empty()) {
    descriptor = *free_descriptors_.begin();
    free_descriptors_.erase(free_descriptors_.begin());
  } else {
    descriptor = kFirstDescriptor + static_cast<int32_t>(sockets_.size());
    sockets_.emplace_back();
  }
  Socket& socket = sockets_[static_cast<size_t>(descriptor - kFirstDescriptor)];
  CHECK(!socket.open);
  socket = Socket{};
  socket.open = true;
  return descriptor;
}

io::Socket SimIo::Listen(const SocketAddress& address, ListenOptions) {
  const int32_t descriptor = NewSocket();
  SocketOf(descriptor).listens = true;
  SocketOf(descriptor).address = address;
  network_.Listen(address, this);
  return {descriptor};
}

SocketAddress SimIo::LocalAddress(io::Socket socket) {
  return SocketOf(socket.descriptor).address;
}

SocketAddress SimIo::PeerAddress(io::Socket socket) {
  const Socket& it = SocketOf(socket.descriptor);
  if (it.connection == nullptr || it.connection->reset(it.side)) return {};
  return it.side == 0 ? it.connection->to() : it.connection->from();
}

io::Socket SimIo::OpenStream(Family family, const IpAddress& local) {
  CHECK(local.family == Family::kNone || local.family == family);
  if (local.family != Family::kNone && !observer_.HasAddress(local)) return {-EADDRNOTAVAIL};
  if (world_.Chance(options_.open_error)) return {-EMFILE};
  const int32_t descriptor = NewSocket();
  SocketOf(descriptor).address.ip = local;
  SocketOf(descriptor).called_out = true;
  return {descriptor};
}

void SimIo::Close(io::Socket handle) {
  Socket& socket = SocketOf(handle.descriptor);
  CHECK(socket.in_flight == 0);  // io.h: join first.
  world_.Happens("closes", options_.shard, static_cast<uint64_t>(handle.descriptor));
  if (socket.called_out) observer_.OnClosed(options_.shard, handle.descriptor);
  if (socket.listens) {
    network_.Unlisten(socket.address);
    for (const uint32_t number : socket.backlog) network_.Get(number).Reset(1);
  }
  if (socket.connection != nullptr) {
    Connection& connection = *socket.connection;
    connection.Attach(socket.side, nullptr);
    by_connection_.erase(connection.number());
    if (connection.Unread(socket.side).empty()) {
      connection.Finish(socket.side);
    } else {
      connection.Reset(socket.side);  // As the kernel does when something was left unread.
    }
  }
  socket.open = false;
  free_descriptors_.insert(handle.descriptor);
  --open_sockets_;
}

void SimIo::ShutdownSend(io::Socket handle) {
  Socket& socket = SocketOf(handle.descriptor);
  CHECK(socket.connection != nullptr);
  socket.connection->Finish(socket.side);
}

// --- Calls that come in.

void SimIo::OnCall(Connection& connection) {
  for (Socket& socket : sockets_) {
    if (!socket.open || !socket.listens || socket.address != connection.to()) continue;
    socket.backlog.push_back(connection.number());
    return TryAccept(socket);
  }
  connection.Reset(1);
}

void SimIo::Accept(io::OpId op, io::Socket listener) {
  Socket& socket = SocketOf(listener.descriptor);
  CHECK(socket.listens);
  CHECK(socket.accept == 0);
  socket.accept = Key(op);
  Begin(op, Kind::kAccept, listener.descriptor);
  TryAccept(socket);
}

void SimIo::TryAccept(Socket& socket) {
  const int32_t listener = kFirstDescriptor + static_cast<int32_t>(&socket - sockets_.data());
  while (!SocketOf(listener).backlog.empty()) {
    if (SocketOf(listener).accept == 0) return;
    Operation& operation = *operations_.at(SocketOf(listener).accept);
    if (operation.done) return;
    if (world_.Chance(options_.accept_error)) return Complete(operation, -EMFILE);
    const uint32_t number = SocketOf(listener).backlog.front();
    SocketOf(listener).backlog.pop_front();
    const int32_t descriptor = NewSocket();  // Moves the sockets.
    Socket& accepted = SocketOf(descriptor);
    accepted.connection = &network_.Get(number);
    accepted.side = 1;
    accepted.connection->Attach(1, this);
    by_connection_[number] = descriptor;
    // A cancel that comes too late ends with the connection it had.
    const bool last = operation.cancelled && world_.Chance(0.5);
    Complete(operation, descriptor, /*more=*/!last);
  }
}

// --- Calls that go out.

void SimIo::Connect(io::OpId op, io::Socket handle, const SocketAddress& to) {
  CHECK(SocketOf(handle.descriptor).called_out);
  Operation& operation = Begin(op, Kind::kConnect, handle.descriptor);
  connecting_[operation.serial] = to;
  world_.Happens("calls", options_.shard, static_cast<uint64_t>(handle.descriptor), to.ToString());
  const IpAddress& from = SocketOf(handle.descriptor).address.ip;
  switch (observer_.OnCalling(options_.shard, handle.descriptor, from, to)) {
    case CallObserver::Answer::kTaken:
      return Later(operation, microseconds(100), milliseconds(100), &SimIo::DoConnect);
    case CallObserver::Answer::kRefused:
      return Later(operation, microseconds(100), milliseconds(100), &SimIo::DoRefuse);
    case CallObserver::Answer::kHangs:
      return;
  }
}

void SimIo::DoRefuse(Operation& operation) {
  Complete(operation, -ECONNREFUSED);
}

void SimIo::DoConnect(Operation& operation) {
  Socket& socket = SocketOf(operation.descriptor);
  const SocketAddress to = connecting_.at(operation.serial);
  connecting_.erase(operation.serial);
  Callee* callee = network_.FindCallee(to);
  if (callee == nullptr) return Complete(operation, -ECONNREFUSED);
  Connection& connection = network_.Open(socket.address, to);
  connection.Attach(0, this);
  socket.connection = &connection;
  socket.side = 0;
  by_connection_[connection.number()] = operation.descriptor;
  observer_.OnConnected(options_.shard, operation.descriptor, connection);
  callee->OnCall(connection);
  Complete(operation, 0);
}

// --- Receiving.

void SimIo::Receive(io::OpId op, io::Socket handle) {
  Socket& socket = SocketOf(handle.descriptor);
  CHECK(socket.connection != nullptr);
  CHECK(socket.receive == 0);
  socket.receive = Key(op);
  Begin(op, Kind::kReceive, handle.descriptor);
  TryReceive(socket);
}

void SimIo::OnArrival(Connection& connection) {
  const auto found = by_connection_.find(connection.number());
  if (found == by_connection_.end()) return;
  Socket& socket = SocketOf(found->second);
  if (connection.reset(socket.side) && socket.send != 0) {
    Operation& send = *operations_.at(socket.send);
    if (!send.done) Complete(send, -EPIPE);
  }
  TryReceive(socket);
}

void SimIo::TryReceive(Socket& socket) {
  if (socket.receive == 0) return;
  Operation& operation = *operations_.at(socket.receive);
  if (operation.done || operation.scheduled) return;
  const Connection& connection = *socket.connection;
  const bool something = !connection.Unread(socket.side).empty() ||
                         connection.finished(socket.side) || connection.reset(socket.side);
  if (!something) return;
  operation.scheduled = true;
  Later(operation, Duration(0), microseconds(100), &SimIo::DoReceive);
}

void SimIo::DoReceive(Operation& operation) {
  Socket& socket = SocketOf(operation.descriptor);
  Connection& connection = *socket.connection;
  operation.scheduled = false;
  const absl::string_view unread = connection.Unread(socket.side);
  if (!unread.empty()) {
    size_t size = std::min<size_t>(unread.size(), 16 << 10);
    if (world_.Chance(0.02)) size = world_.Between(1, size);
    std::string bytes(unread.substr(0, size));
    connection.Take(socket.side, size);
    Complete(operation, static_cast<int32_t>(size), /*more=*/true, std::move(bytes));
    return TryReceive(SocketOf(operation.descriptor));
  }
  if (connection.reset(socket.side)) return Complete(operation, -ECONNRESET);
  CHECK(connection.finished(socket.side));
  Complete(operation, 0);
}

// --- Sending.

void SimIo::Send(io::OpId op, io::Socket handle, std::span<const io::Bytes> parts) {
  Socket& socket = SocketOf(handle.descriptor);
  CHECK(socket.connection != nullptr);
  CHECK(socket.send == 0);  // One at a time.
  CHECK(parts.size() <= io::kSendPartsMax);
  socket.send = Key(op);
  Operation& operation = Begin(op, Kind::kSend, handle.descriptor);
  operation.parts.assign(parts.begin(), parts.end());
  operation.read_then = socket.connection->bytes_read(socket.side);
  Later(operation, Duration(0), microseconds(200), &SimIo::DoSend);
}

// The bytes that are left to do, at most `most` of them.
io::Bytes SimIo::Gathered(const Operation& operation, std::string& buffer, uint64_t most) const {
  uint64_t skip = operation.bytes_done;
  if (most == 0) return {};
  for (const io::Bytes part : operation.parts) {
    if (skip >= part.size()) {
      skip -= part.size();
      continue;
    }
    const uint64_t take = std::min<uint64_t>(part.size() - skip, most - buffer.size());
    buffer.append(reinterpret_cast<const char*>(part.data()) + skip, take);
    skip = 0;
    if (buffer.size() == most) break;
  }
  return std::as_bytes(std::span(buffer));
}

void SimIo::DoSend(Operation& operation) {
  Socket& socket = SocketOf(operation.descriptor);
  Connection& connection = *socket.connection;
  if (connection.reset(socket.side)) return Complete(operation, -EPIPE);
  const uint64_t room = connection.Room(socket.side);
  std::string bytes;
  Gathered(operation, bytes, room);
  connection.Write(socket.side, bytes, operation.read_then);
  operation.bytes_done += bytes.size();
  uint64_t all = 0;
  for (const io::Bytes part : operation.parts) all += part.size();
  operation.waits_for_room = operation.bytes_done < all;
  if (!operation.waits_for_room)
    Later(operation, Duration(0), microseconds(300), &SimIo::FinishSend);
}

void SimIo::FinishSend(Operation& operation) {
  Complete(operation, static_cast<int32_t>(operation.bytes_done));
}

void SimIo::OnRoom(Connection& connection) {
  const auto found = by_connection_.find(connection.number());
  if (found == by_connection_.end()) return;
  const uint64_t key = SocketOf(found->second).send;
  if (key == 0) return;
  Operation& operation = *operations_.at(key);
  if (operation.done || !operation.waits_for_room) return;
  operation.waits_for_room = false;
  Later(operation, Duration(0), microseconds(100), &SimIo::DoSend);
}

// -------------------------------------------------------------------------------------------------
// Files.

void SimIo::Write(io::OpId op, io::File file, std::span<const io::Bytes> parts, uint64_t offset) {
  CHECK(parts.size() <= io::kWritePartsMax);
  Operation& operation = Begin(op, Kind::kWrite, file.descriptor);
  operation.parts.assign(parts.begin(), parts.end());
  operation.offset = offset;
  disk_.OnAsked(file.descriptor, parts, offset);
  Later(operation, microseconds(5), options_.file_latency_max, &SimIo::DoWrite);
}

void SimIo::DoWrite(Operation& operation) {
  uint64_t all = 0;
  for (const io::Bytes part : operation.parts) all += part.size();
  std::string bytes;
  const io::Bytes part = Gathered(operation, bytes, all);
  // A write that fails may have written some of it.
  const int error = disk_.faults.write_error;
  if (error != 0 && all > 0 && world_.Chance(0.5)) {
    disk_.faults.write_error = 0;
    const io::Bytes some = part.first(world_.Between(0, all));
    if (!some.empty()) disk_.Write(operation.descriptor, std::span(&some, 1), operation.offset);
    disk_.faults.write_error = error;
  }
  const int32_t result = disk_.Write(operation.descriptor, std::span(&part, 1), operation.offset);
  Complete(operation, result);
}

void SimIo::Read(io::OpId op, io::File file, std::span<std::byte> into, uint64_t offset) {
  Operation& operation = Begin(op, Kind::kRead, file.descriptor);
  operation.into = into;
  operation.offset = offset;
  Later(operation, microseconds(20), options_.file_latency_max, &SimIo::DoRead);
}

void SimIo::DoRead(Operation& operation) {
  Complete(operation, disk_.Read(operation.descriptor, operation.into, operation.offset));
}

void SimIo::Sync(io::OpId op, io::File file) {
  ++syncs_;
  Later(Begin(op, Kind::kSync, file.descriptor), microseconds(50), options_.sync_latency_max,
        &SimIo::DoSync);
}

void SimIo::DoSync(Operation& operation) {
  Complete(operation, disk_.Sync(operation.descriptor));
}

// Of a write that is under way some part may have reached the disk, and a sync may have ended
// without our having heard of it.
void SimIo::Crash() {
  std::vector<Operation*> files;
  for (auto& [key, operation] : operations_) {
    const Kind kind = operation->kind;
    if (!operation->done && (kind == Kind::kWrite || kind == Kind::kSync))
      files.push_back(operation.get());
  }
  std::sort(files.begin(), files.end(),
            [](const Operation* a, const Operation* b) { return a->serial < b->serial; });
  for (Operation* operation : files) {
    if (!world_.Chance(0.5)) continue;
    if (operation->kind == Kind::kSync) {
      disk_.Sync(operation->descriptor);
      continue;
    }
    uint64_t all = 0;
    for (const io::Bytes part : operation->parts) all += part.size();
    std::string bytes;
    const io::Bytes part = Gathered(*operation, bytes, world_.Between(0, all));
    if (!part.empty()) disk_.Write(operation->descriptor, std::span(&part, 1), operation->offset);
  }
  for (Socket& socket : sockets_) {
    if (!socket.open) continue;
    if (socket.called_out)
      observer_.OnClosed(options_.shard,
                         kFirstDescriptor + static_cast<int32_t>(&socket - sockets_.data()));
    for (const uint32_t number : socket.backlog) network_.Get(number).Reset(1);
    if (socket.connection == nullptr) continue;
    socket.connection->Attach(socket.side, nullptr);
    if (world_.Chance(0.7)) {
      socket.connection->Reset(socket.side);
    } else {
      socket.connection->Vanish(socket.side);
    }
    socket.connection = nullptr;
  }
  End();
}

void SimIo::End() {
  operations_.clear();
  completions_.clear();
  by_connection_.clear();
  for (Socket& socket : sockets_) {
    if (socket.open && socket.listens) network_.Unlisten(socket.address);
  }
  sockets_.clear();
  free_descriptors_.clear();
  open_sockets_ = 0;
}

}  // namespace sluice::sim
