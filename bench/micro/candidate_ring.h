// A bare ring with the flags of the engine's (engine/io), to measure what else it could be asked.
// Made, used and destroyed on one thread.

#pragma once

#include <errno.h>
#include <liburing.h>
#include <string.h>

#include <cstdint>
#include <string>

#include "engine/base/check.h"

namespace sluice {

// "receive: EINVAL": what the kernel did not take, for the reason of a benchmark that is skipped.
inline std::string Refusal(const char* call, int error) {
  const char* name = strerrorname_np(error);
  return std::string(call) + ": " + (name != nullptr ? name : std::to_string(error));
}

// How a turn waits for completions.
enum class Waiting {
  kForOne,         // As the engine does.
  kForEight,       // At most 50 us, however many have come.
  kForEightOrOne,  // At most 50 us, but for the first one as long as it takes (Linux 6.12).
  kNever,          // Enters each turn, and does not sleep in it.
  kNeverByFlag,    // The same, but enters only when there is something to submit or to reap.
};

class CandidateRing {
 public:
  explicit CandidateRing(Waiting waiting = Waiting::kForOne) : waiting_(waiting) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    params.cq_entries = 4096;
    const int made = io_uring_queue_init_params(256, &ring_, &params);
    if (made < 0) {
      refusal_ = Refusal("io_uring_setup", -made);
      return;
    }
    open_ = true;
    features_ = params.features;
    CHECK(io_uring_register_ring_fd(&ring_) == 1);
    if (waiting == Waiting::kForEightOrOne)
      Want(kMinWaitFeature, "a wait of two times: Linux 6.12");
  }
  ~CandidateRing() { Close(); }
  CandidateRing(const CandidateRing&) = delete;
  CandidateRing& operator=(const CandidateRing&) = delete;

  // Ends what is in flight: memory that was lent to it is its owner's again.
  void Close() {
    if (open_) io_uring_queue_exit(&ring_);
    open_ = false;
  }

  // Empty while the kernel takes all that is asked for; nothing may be asked after a refusal.
  const std::string& refusal() const { return refusal_; }
  void Refuse(const char* call, int error) { refusal_ = Refusal(call, error); }
  void Want(unsigned feature, const char* what) {
    if (open_ && (features_ & feature) == 0) refusal_ = std::string("not in this kernel: ") + what;
  }

  io_uring& ring() { return ring_; }
  uint64_t enters() const { return enters_; }

  io_uring_sqe& Next() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    CHECK(sqe != nullptr);
    return *sqe;
  }

  // Submits, waits, and hands on each completion.
  template <typename Take>
  void Turn(Take take) {
    const int result = Enter();
    CHECK(result >= 0 || result == -ETIME || result == -EINTR);
    Reap(take);
    // An enter brings at most 20 completions; the engine, too, goes back for what is left.
    for (int rounds = 1; rounds < 16 && WorkWaits(); ++rounds) {
      ++enters_;
      CHECK(io_uring_get_events(&ring_) >= 0);
      Reap(take);
    }
  }

 private:
  static constexpr long kPatienceMicroseconds = 50;
  // include/uapi/linux/io_uring.h, IORING_FEAT_MIN_TIMEOUT; liburing has it from 2.8.
  static constexpr unsigned kMinWaitFeature = 1u << 15;

  int Enter() {
    switch (waiting_) {
      case Waiting::kForOne:
        ++enters_;
        return io_uring_submit_and_wait(&ring_, 1);
      case Waiting::kForEight: {
        ++enters_;
        io_uring_cqe* first = nullptr;
        __kernel_timespec patience{.tv_sec = 0, .tv_nsec = kPatienceMicroseconds * 1000};
        return io_uring_submit_and_wait_timeout(&ring_, &first, 8, &patience, nullptr);
      }
      case Waiting::kForEightOrOne:
        ++enters_;
        return SubmitAndWaitForEightOrOne();
      case Waiting::kNeverByFlag:
        if (io_uring_sq_ready(&ring_) == 0 && !WorkWaits()) return 0;
        [[fallthrough]];
      case Waiting::kNever:
        ++enters_;
        return io_uring_submit_and_get_events(&ring_);
    }
    CHECK(false);
  }

  // io_uring_submit_and_wait_min_timeout of liburing 2.8: `pad` has become min_wait_usec.
  int SubmitAndWaitForEightOrOne() {
    io_uring_getevents_arg argument{};
    argument.pad = kPatienceMicroseconds;
    const unsigned flags =
        IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_REGISTERED_RING;
    return io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), ShowSubmissions(), 8, flags,
                           reinterpret_cast<sigset_t*>(&argument), sizeof(argument));
  }

  // What the library's submit does before it enters.
  unsigned ShowSubmissions() {
    io_uring_sq& sq = ring_.sq;
    unsigned tail = *sq.ktail;
    for (; sq.sqe_head != sq.sqe_tail; ++sq.sqe_head, ++tail) {
      sq.array[tail & sq.ring_mask] = sq.sqe_head & sq.ring_mask;
    }
    io_uring_smp_store_release(sq.ktail, tail);
    return tail - *sq.khead;
  }

  bool WorkWaits() const { return (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0; }

  template <typename Take>
  void Reap(Take& take) {
    unsigned head = 0;
    unsigned taken = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      take(*cqe);
      ++taken;
    }
    io_uring_cq_advance(&ring_, taken);
  }

  const Waiting waiting_;
  io_uring ring_{};
  bool open_ = false;
  unsigned features_ = 0;
  std::string refusal_;
  uint64_t enters_ = 0;
};

}  // namespace sluice
