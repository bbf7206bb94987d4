// What happened to a message, as one typed record: the delivery log, and later metrics and the API,
// are made from it.

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/message_id.h"
#include "engine/base/time.h"
#include "engine/delivery/tls_intent.h"
#include "engine/smtp/reply.h"

namespace sluice::delivery {

enum class EventType : uint8_t {
  kReception,         // Accepted, and on the disk.
  kDelivery,          // One recipient, 250 to the dot.
  kTransientFailure,  // One recipient, deferred.
  kBounce,            // One recipient, refused for good.
  kExpiration,        // One recipient, given up by its bounce profile.
};

// How long each stage of an attempt took; zero where there was none (a reused connection has no
// connect).
struct StageTimes {
  Duration queue{};  // From placement in the destination's queue to the start of the transaction.
  Duration dns{};
  Duration connect{};
  Duration tls{};
  Duration envelope{};  // MAIL, RCPT, DATA to the 354; by BDAT up to the last RCPT's reply.
  Duration data{};      // The body and the reply to the dot, or to BDAT.
};

// All text is lent for the call.
struct Event {
  EventType type{};
  WallTime timestamp{};
  MessageId id;
  absl::string_view sender;
  absl::string_view recipient;    // Empty in a reception of several: one event a recipient.
  absl::string_view destination;  // "queue" in the log.
  uint64_t message_bytes = 0;
  const smtp::Reply* reply = nullptr;  // Null: none.
  absl::string_view command;    // What the reply answered: "RCPT TO", "the final dot", "BDAT".
  absl::string_view peer_name;  // Host name; the client's HELO name in a reception.
  SocketAddress peer_address;   // Family kNone: none.
  absl::string_view source;     // Local address used; empty: the system chose.
  uint32_t attempts = 0;
  absl::string_view binding_limit;  // On a deferral without an attempt.
  uint64_t table_version = 0;
  uint32_t shard = 0;
  bool in_doubt = false;            // Possibly delivered: lost before the reply to all of it.
  const TlsOutcome* tls = nullptr;  // Of the attempt; null in a reception.
  StageTimes stages;
};

// Where events go. An event is about what a batch of the log records, and must not be seen before
// that batch is durable: Emit holds it until Release has passed its batch.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void Emit(const Event& event, uint64_t batch) = 0;
  virtual void Release(uint64_t durable_batch) = 0;
};

}  // namespace sluice::delivery
