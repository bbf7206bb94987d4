#include "engine/admin/control_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <semaphore>

#include "engine/base/check.h"

namespace sluice::admin {
namespace {

ControlReply Unavailable() {
  return {.status = 503, .body = "{\"error\":\"the engine is busy or about to end\"}"};
}

}  // namespace

// Of the caller's stack.
struct ControlQueue::Waiting {
  const ControlRequest* request;
  ControlReply reply;
  std::binary_semaphore served{0};
};

ControlQueue::ControlQueue() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(event_ >= 0);
}

ControlQueue::~ControlQueue() {
  CHECK(waiting_.empty());
  close(event_);
}

ControlReply ControlQueue::Call(const ControlRequest& request) {
  Waiting mine = {.request = &request, .reply = Unavailable()};
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || waiting_.size() == kWaitingMax) return mine.reply;
    waiting_.push_back(&mine);
  }
  eventfd_write(event_, 1);
  mine.served.acquire();
  return std::move(mine.reply);
}

void ControlQueue::Serve(const std::function<ControlReply(const ControlRequest&)>& handler) {
  eventfd_t count = 0;
  eventfd_read(event_, &count);  // Before the look, so that nothing is overlooked.
  while (Waiting* waiting = Take()) {
    waiting->reply = handler(*waiting->request);
    waiting->served.release();
  }
}

void ControlQueue::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  while (Waiting* waiting = Take()) waiting->served.release();
}

ControlQueue::Waiting* ControlQueue::Take() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return nullptr;
  Waiting* first = waiting_.front();
  waiting_.pop_front();
  return first;
}

}  // namespace sluice::admin
