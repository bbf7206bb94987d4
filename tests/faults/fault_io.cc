#include "tests/faults/fault_io.h"

#include <cerrno>
#include <cstring>
#include <optional>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::faults {
namespace {

using delivery::Tag;
using io::Bytes;
using io::Completion;
using io::OpId;

uint64_t KeyOf(OpId op) {
  uint64_t key = 0;
  std::memcpy(&key, &op, sizeof(key));
  return key;
}

uint64_t BytesOf(std::span<const Bytes> parts) {
  uint64_t bytes = 0;
  for (const Bytes part : parts) bytes += part.size();
  return bytes;
}

// The first half of the bytes, at least one.
std::vector<Bytes> HalfOf(std::span<const Bytes> parts) {
  uint64_t left = std::max<uint64_t>(1, BytesOf(parts) / 2);
  std::vector<Bytes> half;
  for (const Bytes part : parts) {
    const size_t taken = std::min<uint64_t>(left, part.size());
    if (taken > 0) half.push_back(part.first(taken));
    left -= taken;
  }
  return half;
}

// What others see of a completion's operation: a point. Nobody sees that we have received.
bool IsPoint(OpId op) {
  switch (static_cast<Tag>(op.tag)) {
    case Tag::kLogStep:
    case Tag::kSend:
    case Tag::kIntakeSend:
      return true;
    case Tag::kBodyRead:
    case Tag::kRecordRead:
    case Tag::kMoveRead:
    case Tag::kStreamRead:
    case Tag::kConnect:
    case Tag::kReceive:
    case Tag::kIntakeAccept:
    case Tag::kIntakeReceive:
      return false;
  }
  return false;
}

}  // namespace

io::Socket FaultIo::Listen(const SocketAddress& address, ListenOptions options) {
  const Fate fate = Next(Call::kListen);
  return fate.hit ? io::Socket{-fate.error} : real_->Listen(address, options);
}

io::Socket FaultIo::OpenStream(Family family, const IpAddress& local) {
  const Fate fate = Next(Call::kOpenStream);
  return fate.hit ? io::Socket{-fate.error} : real_->OpenStream(family, local);
}

void FaultIo::Connect(OpId op, io::Socket socket, const SocketAddress& to) {
  const Fate fate = Next(Call::kConnect);
  if (fate.hit) return Complete(op, -fate.error);
  real_->Connect(op, socket, to);
}

void FaultIo::Send(OpId op, io::Socket socket, std::span<const Bytes> parts) {
  Point();
  const bool host = static_cast<Tag>(op.tag) == Tag::kSend;
  const Fate fate = Next(host ? Call::kHostSend : Call::kIntakeSend);
  if (fate.hit && fate.done == Done::kNothing) return Complete(op, -fate.error);
  if (fate.hit) ChangeResult(op, fate);
  if (fate.hit && fate.done == Done::kPart) {
    CHECK(fate.error != 0);  // Io sends all, or fails.
    return real_->Send(op, socket, HalfOf(parts));
  }
  real_->Send(op, socket, parts);
}

void FaultIo::Write(OpId op, io::File file, std::span<const Bytes> parts, uint64_t offset) {
  Point();
  const Fate fate = Next(Call::kLogWrite);
  if (fate.hit && fate.done == Done::kNothing) return Complete(op, -fate.error);
  unsynced_.WillWrite(file.descriptor, offset, BytesOf(parts));
  if (fate.hit && fate.error != 0) ChangeResult(op, fate);
  if (fate.hit && fate.done == Done::kPart) {
    return real_->Write(op, file, HalfOf(parts), offset);
  }
  real_->Write(op, file, parts, offset);
}

void FaultIo::Read(OpId op, io::File file, std::span<std::byte> into, uint64_t offset) {
  const bool record = static_cast<Tag>(op.tag) == Tag::kRecordRead;
  const Fate fate = Next(record ? Call::kRecordRead : Call::kBodyRead);
  if (fate.hit && fate.done == Done::kNothing) return Complete(op, -fate.error);
  if (fate.hit && fate.error != 0) ChangeResult(op, fate);
  if (fate.hit && fate.done == Done::kPart) into = into.first(into.size() / 2);
  real_->Read(op, file, into, offset);
}

// One that fails without having been done loses what it was to save: the kernel drops the pages
// that it could not write, and says so once.
void FaultIo::Sync(OpId op, io::File file) {
  Point();
  const Fate fate = Next(Call::kLogSync);
  if (fate.hit && fate.done == Done::kNothing) {
    unsynced_.Lose(file.descriptor);
    return Complete(op, plan_.options().told_as_success ? 0 : -fate.error);
  }
  if (fate.hit) ChangeResult(op, fate);
  syncing_[KeyOf(op)] = file.descriptor;
  real_->Sync(op, file);
}

void FaultIo::Complete(OpId op, int32_t result) {
  own_.push_back({.op = op, .result = result, .more = false, .received = {}});
}

void FaultIo::ChangeResult(OpId op, const Fate& fate) {
  changed_[KeyOf(op)] = -fate.error;
}

void FaultIo::Wait(Instant until, std::vector<Completion>& completions) {
  real_->Wait(own_.empty() ? until : Instant{}, completions);
  size_t kept = 0;
  bool point = false;
  for (Completion& completion : completions) {
    point |= IsPoint(completion.op);
    if (Take(completion)) completions[kept++] = completion;
  }
  completions.resize(kept);
  if (point) plan_.Point();
  completions.insert(completions.end(), own_.begin(), own_.end());
  own_.clear();
}

// What was asked for in this turn goes out first.
void FaultIo::Point() {
  if (!plan_.ReachesPoint()) return;
  std::vector<Completion> unseen;
  real_->Wait(Instant{}, unseen);
  for (const Completion& completion : unseen) OnSynced(completion.op, completion.result);
  plan_.Die();
}

void FaultIo::OnSynced(OpId op, int32_t result) {
  const auto syncing = syncing_.find(KeyOf(op));
  if (syncing == syncing_.end()) return;
  if (result == 0) unsynced_.Synced(syncing->second);
  syncing_.erase(syncing);
}

// False: the engine does not see it.
bool FaultIo::Take(Completion& completion) {
  OnSynced(completion.op, completion.result);
  const auto changed = changed_.find(KeyOf(completion.op));
  if (changed != changed_.end()) {
    completion.result = changed->second;
    changed_.erase(changed);
    return true;
  }
  switch (static_cast<Tag>(completion.op.tag)) {
    case Tag::kIntakeAccept:
      return TakeArmed(completion, Call::kAccept);
    case Tag::kIntakeReceive:
      return TakeArmed(completion, Call::kIntakeReceive);
    case Tag::kReceive:
      return TakeArmed(completion, Call::kHostReceive);
    case Tag::kLogStep:
    case Tag::kBodyRead:
    case Tag::kRecordRead:
    case Tag::kMoveRead:
    case Tag::kStreamRead:
    case Tag::kConnect:
    case Tag::kSend:
    case Tag::kIntakeSend:
      return true;
  }
  return true;
}

bool FaultIo::TakeArmed(Completion& completion, Call call) {
  const uint64_t key = KeyOf(completion.op);
  if (ending_.find(key) == ending_.end()) {
    if (completion.result < 0) return true;
    const Fate fate = Next(call);
    if (!fate.hit) return true;
    ending_[key] = -fate.error;
    if (completion.more) real_->Cancel(completion.op);
  }
  // The kernel gave it a connection or bytes; the engine is told of neither.
  if (call == Call::kAccept && completion.result >= 0) {
    real_->Close(io::Socket{completion.result});
  }
  if (completion.more) return false;
  completion.result = ending_[key];
  completion.received = {};
  ending_.erase(key);
  return true;
}

}  // namespace sluice::faults
