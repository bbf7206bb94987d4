#include "engine/io/event_waker.h"

#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/check.h"

namespace sluice::io {

EventWaker::~EventWaker() {
  if (descriptor_ >= 0) close(descriptor_);
}

int EventWaker::Open() {
  CHECK(descriptor_ < 0);
  descriptor_ = eventfd(0, EFD_CLOEXEC);
  return descriptor_ < 0 ? -errno : 0;
}

void EventWaker::Wake() {
  // An exchange also when it is set already: the release makes what this thread wrote before
  // visible to the shard, which takes the flag with an exchange of its own.
  if (pending_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  CHECK(write(descriptor_, &one, sizeof(one)) == sizeof(one));
}

void EventWaker::PrepareRead(io_uring_sqe& sqe) {
  io_uring_prep_read(&sqe, descriptor_, &count_, sizeof(count_), 0);
}

void EventWaker::TookWake() {
  CHECK(pending_.exchange(false, std::memory_order_acq_rel));
}

}  // namespace sluice::io
