// A message as its home shard keeps it: the envelope, where its body is, and what became of each
// recipient.
//
// The envelope does not change after acceptance. Its recipients are sorted by destination, so that
// the recipients of one destination are a range: a parcel. While a parcel is out, the destination's
// shard alone writes the outcomes of that range (parcel.h); everything else is the home's.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

// What an attempt made of a recipient.
enum class Verdict : uint8_t {
  kUntried,  // Not attempted in this round.
  kDelivered,
  kDeferred,
  kBounced,
};

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
  WallTime accepted_at{};
  Instant
      kept_since{};  // The same by the monotonic clock: a wall clock that jumps bounces nothing.
  smtp::Envelope envelope;
  uint32_t pool = 0;                       // Of sources, by which it leaves (policy/sources.h).
  std::vector<RecipientOutcome> outcomes;  // One for each recipient of the envelope.
  bool bounce = false;
  bool eight_bit = false;
  bool promised = false;  // Its batch is durable: it may be attempted.
  uint64_t message_bytes = 0;
  uint64_t wire_bytes = 0;
  uint64_t body_checksum = 0;

  // In the log.
  std::vector<spool::Extent> extents;
  spool::SegmentId first_segment;
  uint64_t log_bytes = 0;
  ListHook segment_hook;  // Among the messages whose first record is in that segment.

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

  uint32_t parcels = 0;  // That are not finished.
};

}  // namespace sluice::delivery
