// A parcel: one message's recipients at one destination, and what goes from shard to shard.
//
// It exists from when it is handed out until its round is over; before and after, the home has a
// KeptParcel (kept.h). It lives in a slab of the home shard and is handed over by pointer, through
// the mailbox. Whoever has it owns it, with the outcomes of its range of recipients; the message
// and envelope behind it may be read meanwhile, since the home does not change them. It comes home
// after every transaction, with its outcome written in, so that the home records what is final
// before anything else happens.
//
//   home (due) ── kParcelOut ──► destination's queue ──► transaction ── kParcelHome ──► home
//                                         │ kBodyWanted ▲ kBodyDecided
//                                         ▼             │
//                                       the home lends the body

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/intrusive_list.h"
#include "engine/base/slab.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/body_stream.h"
#include "engine/delivery/event.h"
#include "engine/delivery/kept.h"
#include "engine/delivery/message.h"
#include "engine/delivery/tls_intent.h"
#include "engine/smtp/reply.h"

namespace sluice::delivery {

enum class BodyState : uint8_t {
  kNotAsked,
  kAsked,
  kLent,     // message->body, or what lies at body_places, may be read until the parcel is home.
  kNoRoom,   // No memory to read it back into: give the parcel back, it will come again.
  kDamaged,  // The log could not give it back whole this time.
  kLost,     // Nor the times before: it never will.
};

// What was found of a body that was read at its places.
enum class BodyCheck : uint8_t {
  kNone,  // It was not read to its end.
  kWhole,
  kDamaged,
};

// What the last stay at the destination's shard came to.
enum class ParcelResult : uint8_t {
  kNothing,    // Not yet.
  kAttempted,  // Verdicts and replies of a transaction, or of the failure to get one.
  kExpired,    // Its time was up in the queue.
  kAgain,      // Untouched, its session was lost: to be placed again at once, in front.
  kRecalled,   // Given back untouched: the engine stops, or there was no room.
};

struct Parcel {
  // --- The home's alone.
  KeptParcel* kept = nullptr;

  // --- Fixed from the home's hand.
  Message* message = nullptr;
  uint32_t home = 0;  // Shard.
  uint32_t first_recipient = 0;
  uint32_t recipients = 0;
  uint32_t attempts = 0;  // Finished rounds.
  Instant expires = kNever;
  std::vector<BodyPlace> body_places;  // Lent with the body; empty: it is in memory.
  bool continues = false;  // Recipients are left over from a transaction: to the queue's front.

  // --- Whoever has it.
  ListHook hook;
  Timer timer;  // Its expiry in the queue.

  // --- Written out there, read at home.
  std::string tagged_sender;  // As it goes on the wire; empty: as it is.
  BodyState body_state = BodyState::kNotAsked;
  BodyCheck body_check = BodyCheck::kNone;
  ParcelResult result = ParcelResult::kNothing;
  smtp::Reply reply;    // Of the transaction, or of our own making.
  std::string command;  // What it answered.
  std::string peer_name;
  SocketAddress peer_address;
  uint32_t source = 0;        // Of the connection (policy/sources.h).
  std::string binding_limit;  // When there was no attempt: what held it.
  bool in_doubt = false;
  TlsOutcome tls;  // Of the attempt's connection, or of what kept it from one.
  uint64_t table_version = 0;
  StageTimes stages;
  Instant queued_at{};
  Handle connection;           // That carries it now, in the dispatcher's slab.
  uint32_t host_failures = 0;  // Hosts that failed under it in this attempt.

  absl::string_view destination() const {
    return message->envelope.recipients[first_recipient].destination;
  }
  RecipientOutcome& outcome(uint32_t i) const { return message->outcomes[first_recipient + i]; }
  const smtp::EnvelopeRecipient& recipient(uint32_t i) const {
    return message->envelope.recipients[first_recipient + i];
  }
};

}  // namespace sluice::delivery
