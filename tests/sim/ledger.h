// What is true, as the outside knows it: what injectors sent and what they were told, what peers
// took and what they answered, what the engine said in its events. The checkers read it.
//
// A message's recipients are named after it ("u2.m17@d3.test"), and so is its sender ("s.m17@…"),
// so that everything a peer sees can be matched. Bounces ("reports") are known by their Message-ID.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/base/time.h"
#include "tests/sim/network.h"
#include "tests/sim/toy_tls.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// A peer has taken a message for a recipient.
struct Delivery {
  uint32_t connection = 0;
  uint32_t transaction = 0;  // On it, from 1.
  uint64_t reply_end = 0;    // Where in the peer's stream its 250 ends; 0: it was never said.
  bool garbled = false;  // The peer said something on this connection that breaks off a session.
  bool told = false;     // An event that was released says that it is done.
  const ToyCertificate* shown = nullptr;  // Under TLS: what the peer had shown. Null: in clear.
  uint32_t life = 0;                      // Of the engine.
  Instant when{};
};

struct RecipientFacts {
  std::string address;
  std::string domain;
  bool unknown = false;              // Its peer refuses it for good.
  bool may_bounce = false;           // Somebody has said something that is final.
  std::vector<uint32_t> deliveries;  // Numbers of Ledger::deliveries.
  uint32_t reports = 0;              // Bounces about it that a peer took, each counted once.
  uint32_t told = 0;                 // Events that say that it was delivered, or may have been.
  bool bounced = false;              // The engine said so in an event that was released,
  bool final = false;                // or that it was delivered.
  bool given_up = false;             // It bounced, by an event that a crash may have swallowed.
  uint32_t final_life = 0;           // In which it said so first, released or not.
  std::string notify;                // RFC 3461, as injected; empty: not given.
  Instant greylisted_until{};        // Once it has been tried.
  Delivery refusal;                  // Where its peer said that it does not know it.

  bool wants_reports() const { return notify.empty() || notify == "FAILURE"; }
};

enum class MessageState : uint8_t { kComing, kSent, kAccepted, kRefused, kBrokenOff };

struct MessageFacts {
  uint32_t number = 0;
  std::string sender;
  std::string content;  // As injected, not stuffed.
  std::vector<RecipientFacts> recipients;
  MessageState state = MessageState::kComing;
  std::string id;         // As the 250 says it.
  bool received = false;  // The engine said so in an event that was released.
  uint32_t life = 0;
  bool report_died = false;  // A bounce to its sender was given up by the engine.
  std::string ret;           // RFC 3461, as injected: "HDRS" and so on; empty: not given.
  std::string envelope_id;
};

struct ReportFacts {
  std::string id;
  uint32_t message = 0;
  std::vector<std::string> failed;
  std::vector<uint32_t> deliveries;
  bool final = false;
};

struct HostFacts {
  std::string name;
  bool start_tls = false;
  ToyCertificate certificate;
};

struct DomainFacts {
  std::string name;
  std::vector<HostFacts> hosts;
  bool exists = true;  // Else its route is a permanent failure.
  bool may_bounce = false;
};

class Ledger {
 public:
  struct Options {
    Duration max_queue{};
    uint32_t max_retries = 0;
  };
  Ledger(World& world, Network& network) : world_(world), network_(network) {}

  Options options;
  std::map<std::string, DomainFacts> domains;
  std::vector<MessageFacts> messages;  // By number.
  std::vector<Delivery> deliveries;
  std::map<std::string, ReportFacts> reports;
  uint32_t life = 0;          // Of the engine; grows with each start.
  uint32_t unclean_life = 0;  // The last one that ended without having written all outcomes.
  Duration clock_steps{};     // By how much the wall clock was moved, in all.
  bool disk_failed = false;   // Some time, so that a refused message may stand in a log.

  MessageFacts& NewMessage(const std::string& sender_domain);
  RecipientFacts& AddRecipient(MessageFacts& message, const std::string& domain, bool unknown);
  RecipientFacts* FindRecipient(absl::string_view address);
  // Of a known recipient.
  const MessageFacts& MessageOf(absl::string_view address) const;
  // "s.m17@…": 17. Nothing of ours: null.
  MessageFacts* FindBySender(absl::string_view sender);

  // Whether the engine has read all of the answer that confirmed it.
  bool Confirmed(const Delivery& delivery) const;

  // Nobody can know: the answer did not come whole, or the outcome was lost with the machine.
  bool InDoubt(const Delivery& delivery) const {
    return !Confirmed(delivery) || (delivery.life <= unclean_life && !delivery.told);
  }
  // So an event said, of what was delivered in this life.
  void Told(const std::vector<uint32_t>& numbers) {
    for (const uint32_t number : numbers)
      deliveries[number].told |= deliveries[number].life == life;
  }

  // A peer took this, as it came (after unstuffing), for these. Returns the numbers of the
  // deliveries, whose reply_end is to be set when the answer is written.
  std::vector<uint32_t> Took(const Connection& connection, absl::string_view sender,
                             const std::vector<std::string>& addresses, absl::string_view message,
                             bool garbled);
  // Somebody said 5xx about it, by the envelope as far as it is known.
  void RefusedForGood(absl::string_view sender, absl::string_view domain);

  World& world() { return world_; }

 private:
  void TookMessage(const Connection& connection, absl::string_view sender,
                   const std::vector<std::string>& addresses, absl::string_view message,
                   std::vector<uint32_t>& taken, bool garbled);
  void TookReport(const Connection& connection, const std::string& to, absl::string_view message,
                  std::vector<uint32_t>& taken, bool garbled);
  uint32_t NewDelivery(const Connection& connection, bool garbled);

  World& world_;
  Network& network_;
  absl::flat_hash_map<std::string, std::pair<uint32_t, uint32_t>> by_address_;
};

// Without the Received field on top; nothing of it: empty.
absl::string_view WithoutTrace(absl::string_view message);

}  // namespace sluice::sim
