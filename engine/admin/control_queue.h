// Operators' requests on their way from the threads that read them to the control thread, which
// alone may act on the engine.
//
// Thread-safe. A caller waits until its request is served, or until Close.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace sluice::admin {

// HTTP's parts; bodies are JSON.
struct ControlRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> parameters;  // Of the query.
  std::string body;
};

struct ControlReply {
  int status = 200;
  std::string body;
};

class ControlQueue {
 public:
  static constexpr size_t kWaitingMax = 64;

  ControlQueue();
  ~ControlQueue();
  ControlQueue(const ControlQueue&) = delete;
  ControlQueue& operator=(const ControlQueue&) = delete;

  // --- Any thread. 503 where too many wait, or after Close.
  ControlReply Call(const ControlRequest& request);

  // --- The control thread.
  // A descriptor that is readable when something waits.
  int event() const { return event_; }
  void Serve(const std::function<ControlReply(const ControlRequest&)>& handler);
  // Whoever waits gets a 503, and whoever comes.
  void Close();

 private:
  struct Waiting;

  Waiting* Take();

  int event_;
  std::mutex mutex_;
  std::deque<Waiting*> waiting_;
  bool closed_ = false;
};

}  // namespace sluice::admin
