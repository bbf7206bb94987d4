// Model SMTP clients that inject messages and remember what they were promised. Some pipeline, some
// send several messages on a connection, some break off: amid the message, or right after the dot.
// A client that is told 4xx, or loses its connection, does not come again: what it was not promised
// is not the engine's.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_peer.h"

namespace sluice::sim {

// As DATA carries it, without the final dot.
std::string Stuffed(absl::string_view content);

class Injector : public End {
 public:
  // Sends these messages, one after another, to the listener.
  Injector(Scene& scene, std::vector<uint32_t> messages, const SocketAddress& listener);
  void OnArrival(Connection& connection) override;

 private:
  enum class Waits : uint8_t {
    kGreeting,
    kEhlo,
    kStartTls,
    kMail,
    kRecipient,
    kData,
    kReset,
    kDot,
    kQuit
  };

  void OnReply(int code, absl::string_view text);
  void BeginMessage();
  void Continue();
  void SendBody();
  void Say(const std::string& text);
  void BeginHandshake();
  void TakeFlight();
  void SendFlight();
  void Expect(Waits waits) { waits_.push_back(waits); }
  void Lost();
  void BreakOff();
  MessageFacts& message() { return scene_.ledger.messages[messages_[current_]]; }

  Scene& scene_;
  const std::vector<uint32_t> messages_;
  size_t current_ = 0;
  Connection* connection_ = nullptr;
  bool pipelines_ = false;
  bool gone_ = false;
  std::string input_;
  bool wants_tls_ = false;
  bool offered_tls_ = false;
  std::unique_ptr<ToyStream> tls_;
  bool secure_ = false;
  std::deque<Waits> waits_;
  size_t recipients_said_ = 0;
  size_t recipients_accepted_ = 0;
  bool refused_ = false;
};

// Draws the messages of a whole simulation, and when they are injected.
class Injectors {
 public:
  // `listener`: where to, at the moment of the call; nothing when the engine is down.
  using Listener = std::function<const SocketAddress*()>;
  Injectors(Scene& scene, Listener listener) : scene_(scene), listener_(std::move(listener)) {}
  void Schedule(uint32_t messages, Duration during);

 private:
  void Inject(uint32_t count);
  uint32_t DrawMessage();
  std::string DrawDomain(bool existing);
  void DrawNotifications(MessageFacts& message);
  std::string DrawContent(uint32_t number);

  Scene& scene_;
  Listener listener_;
  std::vector<std::unique_ptr<Injector>> injectors_;
};

}  // namespace sluice::sim
