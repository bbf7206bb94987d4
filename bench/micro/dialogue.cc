#include "bench/micro/dialogue.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

constexpr size_t kTextBytes = (1 << 20) + (64 << 10);
constexpr unsigned kBuffers = 512;
constexpr size_t kBufferBytes = 16 << 10;
constexpr size_t kPartBytes = 16 << 10;
constexpr uint16_t kBufferGroup = 0;
constexpr int kSendFlags = MSG_NOSIGNAL | MSG_WAITALL;

// Commands and replies: their copy costs less than what sparing it would.
constexpr size_t kZeroCopyBytesMin = 4096;

// Of include/uapi/linux/io_uring.h; liburing 2.3 has none of them.
constexpr uint16_t kReportUsage = 1u << 3;     // IORING_SEND_ZC_REPORT_USAGE, Linux 6.2
constexpr uint32_t kUsageCopied = 1u << 31;    // IORING_NOTIF_USAGE_ZC_COPIED
constexpr uint16_t kBundle = 1u << 4;          // IORING_RECVSEND_BUNDLE, Linux 6.10
constexpr unsigned kBundleFeature = 1u << 14;  // IORING_FEAT_RECVSEND_BUNDLE

// No power of two divides the period: a buffer that comes in another's place shows.
std::byte TextAt(size_t place) {
  return static_cast<std::byte>(place % 251);
}

std::byte* Allocate(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return static_cast<std::byte*>(memory);
}

}  // namespace

// --- Start and end.

Dialogue::Dialogue(const Choices& choices)
    : choices_(choices),
      ring_(choices.waiting),
      text_(Allocate(kTextBytes)),
      received_(Allocate(kBuffers * kBufferBytes)),
      buffers_(reinterpret_cast<io_uring_buf_ring*>(Allocate(kBuffers * sizeof(io_uring_buf)))) {
  for (size_t i = 0; i < kTextBytes; ++i) text_[i] = TextAt(i);
  if (choices.bundles) ring_.Want(kBundleFeature, "receives of several buffers: Linux 6.10");
}

Dialogue::~Dialogue() {
  ring_.Close();
  for (const Side& side : sides_) close(side.descriptor);
  munmap(text_, kTextBytes);
  munmap(received_, kBuffers * kBufferBytes);
  munmap(buffers_, kBuffers * sizeof(io_uring_buf));
}

void Dialogue::Add(int descriptor, Script script) {
  sides_.push_back({.descriptor = descriptor, .script = std::move(script)});
}

void Dialogue::Begin() {
  if (!refusal().empty()) return;
  RegisterBuffers();
  if (choices_.send == SendWay::kZeroCopyRegistered) {
    const iovec whole{.iov_base = text_, .iov_len = kTextBytes};
    const int result = io_uring_register_buffers(&ring_.ring(), &whole, 1);
    if (result < 0) return ring_.Refuse("registering memory", -result);
  }
  if (choices_.direct_descriptors) {
    std::vector<int> descriptors;
    for (const Side& side : sides_) descriptors.push_back(side.descriptor);
    const int result = io_uring_register_files(&ring_.ring(), descriptors.data(),
                                               static_cast<unsigned>(descriptors.size()));
    if (result < 0) return ring_.Refuse("registering sockets", -result);
  }
  for (size_t side = 0; side < sides_.size(); ++side) ArmReceive(side);
}

void Dialogue::RegisterBuffers() {
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uintptr_t>(buffers_);
  registration.ring_entries = kBuffers;
  registration.bgid = kBufferGroup;
  const int result = io_uring_register_buf_ring(&ring_.ring(), &registration, 0);
  if (result < 0) return ring_.Refuse("registering receive buffers", -result);
  io_uring_buf_ring_init(buffers_);
  for (unsigned id = 0; id < kBuffers; ++id) {
    io_uring_buf_ring_add(buffers_, received_ + id * kBufferBytes, kBufferBytes,
                          static_cast<uint16_t>(id), io_uring_buf_ring_mask(kBuffers),
                          static_cast<int>(id));
  }
  io_uring_buf_ring_advance(buffers_, kBuffers);
}

// --- Talking.

void Dialogue::Talk(int messages_each) {
  for (size_t i = 0; i < sides_.size(); ++i) {
    if (sides_[i].script.opening_bytes == 0) continue;
    sides_[i].messages_left = messages_each;
    ++talking_;
    Send(i, sides_[i].script.opening_bytes);
  }
  while (refusal().empty() && (talking_ > 0 || sends_in_flight_ > 0)) Turn();
}

void Dialogue::AnswerUntilClosed() {
  while (refusal().empty() && closed_ < sides_.size()) Turn();
}

void Dialogue::ShutdownSends() {
  for (const Side& side : sides_) CHECK(shutdown(side.descriptor, SHUT_WR) == 0);
}

void Dialogue::Turn() {
  ring_.Turn([this](const io_uring_cqe& cqe) { Take(cqe); });
}

// --- Asking the kernel.

void Dialogue::Aim(io_uring_sqe& sqe, size_t side, Kind kind) {
  sqe.user_data = side << 1 | static_cast<uint64_t>(kind);
  if (!choices_.direct_descriptors) return;
  sqe.fd = static_cast<int>(side);
  sqe.flags |= IOSQE_FIXED_FILE;
}

void Dialogue::ArmReceive(size_t side) {
  io_uring_sqe& sqe = ring_.Next();
  io_uring_prep_recv_multishot(&sqe, sides_[side].descriptor, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kBufferGroup;
  if (choices_.bundles) sqe.ioprio |= kBundle;
  Aim(sqe, side, Kind::kReceive);
}

void Dialogue::Send(size_t side, size_t bytes) {
  CHECK(bytes <= kTextBytes);
  CHECK(sides_[side].sending == 0);
  sides_[side].sending = bytes;
  ++sends_in_flight_;
  io_uring_sqe& sqe = ring_.Next();
  PrepareSend(sqe, sides_[side], bytes);
  Aim(sqe, side, Kind::kSend);
}

void Dialogue::PrepareSend(io_uring_sqe& sqe, Side& side, size_t bytes) {
  switch (bytes < kZeroCopyBytesMin ? SendWay::kPlain : choices_.send) {
    case SendWay::kPlain:
      io_uring_prep_send(&sqe, side.descriptor, text_, bytes, kSendFlags);
      return;
    case SendWay::kGathered:
      Gather(side, bytes);
      io_uring_prep_sendmsg(&sqe, side.descriptor, &side.header, kSendFlags);
      return;
    case SendWay::kZeroCopy:
      io_uring_prep_send_zc(&sqe, side.descriptor, text_, bytes, kSendFlags, kReportUsage);
      return;
    case SendWay::kZeroCopyGathered:
      Gather(side, bytes);
      io_uring_prep_sendmsg_zc(&sqe, side.descriptor, &side.header, kSendFlags);
      sqe.ioprio |= kReportUsage;
      return;
    case SendWay::kZeroCopyRegistered:
      io_uring_prep_send_zc_fixed(&sqe, side.descriptor, text_, bytes, kSendFlags, kReportUsage, 0);
      return;
  }
  CHECK(false);
}

void Dialogue::Gather(Side& side, size_t bytes) {
  size_t count = 0;
  for (size_t begin = 0; begin < bytes; begin += kPartBytes) {
    side.parts[count++] = {.iov_base = text_ + begin,
                           .iov_len = std::min(kPartBytes, bytes - begin)};
  }
  side.header.msg_iov = side.parts.data();
  side.header.msg_iovlen = count;
}

// --- What the kernel says.

void Dialogue::Take(const io_uring_cqe& cqe) {
  const size_t side = cqe.user_data >> 1;
  switch (static_cast<Kind>(cqe.user_data & 1)) {
    case Kind::kReceive:
      TakeReceive(side, cqe);
      return;
    case Kind::kSend:
      TakeSend(sides_[side], cqe);
      return;
  }
}

void Dialogue::TakeReceive(size_t side, const io_uring_cqe& cqe) {
  if (cqe.res == 0) {
    ++closed_;
    return;
  }
  if (cqe.res < 0 && cqe.res != -ENOBUFS) return ring_.Refuse("receive", -cqe.res);
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) ArmReceive(side);
  if (cqe.res < 0) return;
  CHECK((cqe.flags & IORING_CQE_F_BUFFER) != 0);
  TakeBuffers(sides_[side], cqe.flags >> IORING_CQE_BUFFER_SHIFT, static_cast<size_t>(cqe.res));
  Received(side);
}

// A bundle names its first buffer. The next ones are those that lie behind it in the ring, which
// are its successors by number, since buffers are given back in the order in which they came.
void Dialogue::TakeBuffers(Side& side, unsigned first, size_t bytes) {
  int given = 0;
  for (size_t begin = 0; begin < bytes; begin += kBufferBytes, ++given) {
    const unsigned id = (first + static_cast<unsigned>(given)) % kBuffers;
    std::byte* const buffer = received_ + id * kBufferBytes;
    CHECK(*buffer == TextAt(side.received + begin));
    io_uring_buf_ring_add(buffers_, buffer, kBufferBytes, static_cast<uint16_t>(id),
                          io_uring_buf_ring_mask(kBuffers), given);
  }
  CHECK(given == 1 || choices_.bundles);
  io_uring_buf_ring_advance(buffers_, given);
  side.received += bytes;
}

// A send without a copy completes twice: when the bytes are taken, and when their memory is free.
void Dialogue::TakeSend(Side& side, const io_uring_cqe& cqe) {
  const bool freed = (cqe.flags & IORING_CQE_F_NOTIF) != 0;
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) --sends_in_flight_;
  if (freed) {
    sends_copied_ += (static_cast<uint32_t>(cqe.res) & kUsageCopied) != 0;
    return;
  }
  if (cqe.res < 0) return ring_.Refuse("send", -cqe.res);
  CHECK(static_cast<size_t>(cqe.res) == side.sending);
  side.sending = 0;
}

void Dialogue::Received(size_t i) {
  Side& side = sides_[i];
  const Step& step = side.script.steps[side.step];
  CHECK(side.received <= step.receive_bytes);
  if (side.received < step.receive_bytes) return;
  side.received = 0;
  side.step = (side.step + 1) % side.script.steps.size();
  if (step.send_bytes > 0) {
    Send(i, step.send_bytes);
  } else {
    EndMessage(i);
  }
}

void Dialogue::EndMessage(size_t i) {
  Side& side = sides_[i];
  CHECK(side.messages_left > 0);
  --side.messages_left;
  if (side.messages_left > 0) {
    Send(i, side.script.opening_bytes);
  } else {
    --talking_;
  }
}

std::array<int, 2> LoopbackPair() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  const int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  CHECK(listener >= 0);
  CHECK(connected >= 0);
  const int on = 1;
  for (const int each : {listener, connected}) {
    CHECK(setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  CHECK(bind(listener, any, bytes) == 0);
  CHECK(listen(listener, 1) == 0);
  CHECK(getsockname(listener, any, &bytes) == 0);
  CHECK(connect(connected, any, bytes) == 0);
  const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  CHECK(accepted >= 0);
  CHECK(close(listener) == 0);
  return {connected, accepted};
}

}  // namespace sluice
