// A message as its home shard keeps it: the envelope, where its body is, and what became of each
// recipient.
//
// It is in memory while one of its parcels is out, and for as long as there is room; what is kept
// of every message, in memory or not, is its KeptMessage (kept.h).
//
// The envelope does not change after acceptance. Its recipients are sorted by destination, so that
// the recipients of one destination are a range: a parcel. While a parcel is out, the destination's
// shard alone writes the outcomes of that range (parcel.h); everything else is the home's.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/message_id.h"
#include "engine/base/time.h"
#include "engine/delivery/body.h"
#include "engine/smtp/envelope.h"
#include "engine/smtp/reply.h"
#include "engine/spool/log.h"
#include "engine/spool/record.h"

namespace sluice::delivery {

struct Parcel;
struct KeptParcel;
struct KeptMessage;

// What an attempt made of a recipient.
enum class Verdict : uint8_t {
  kUntried,  // Not attempted in this round.
  kDelivered,
  kDeferred,
  kBounced,
};

// What a recipient's own reply answers.
inline constexpr absl::string_view kRecipientCommand = "RCPT TO";

struct RecipientOutcome {
  spool::RecipientState state = spool::RecipientState::kWaiting;
  Verdict verdict = Verdict::kUntried;
  bool own_reply = false;  // `reply` is about this recipient alone; else the parcel's reply stands.
  bool told = false;       // Its deferral in this round has been logged.
  uint16_t attempts = 0;   // As the log has it, with the time of the next.
  WallTime next_attempt{};
  smtp::Reply reply;
};

struct Message {
  MessageId id;
  KeptMessage* kept = nullptr;
  WallTime accepted_at{};
  smtp::Envelope envelope;
  uint32_t pool = 0;                       // Of sources, by which it leaves (policy/sources.h).
  std::vector<RecipientOutcome> outcomes;  // One for each recipient of the envelope.
  bool bounce = false;
  bool eight_bit = false;
  bool promised = false;       // Its batch is durable: it may be attempted.
  bool loading = false;        // Its promise is being read: nothing else here is known yet.
  bool reading_reply = false;  // What a deferral told is being read, before it is moved.
  uint64_t message_bytes = 0;
  uint64_t wire_bytes = 0;
  uint64_t body_checksum = 0;

  std::vector<spool::Extent> extents;  // Where its body lies in the log.

  // In memory, perhaps.
  Body body;
  ListHook memory_hook;               // Among the messages whose body is.
  uint32_t lends = 0;                 // Parcels that hold the body now.
  bool reading = false;               // It is being read back (body_reader.h).
  Instant move_not_before{};          // After a read that failed.
  uint32_t failed_reads = 0;          // In a row.
  bool move_wanted = false;           // It is being read back to be moved.
  bool moving = false;                // Its new place in the log is not durable yet.
  bool dead = false;                  // To be forgotten when the read is over.
  std::vector<Parcel*> body_waiters;  // That asked for it meanwhile.

  uint32_t users = 0;               // Parcels that are out, or wait for it to be loaded.
  std::vector<KeptParcel*> wakers;  // The latter.
  ListHook idle_hook;               // Among those that may leave memory.
};

}  // namespace sluice::delivery
