// What a home keeps of every message and of each of its parcels, whether or not the message is in
// memory: where its promise lies in the log, and when each parcel is to be tried. 10 million of
// these fit into 2 GB (a test asserts the bytes).
//
//   KeptMessage ──── Message (message.h)    the envelope and the outcomes, while they are needed
//        │
//   KeptParcel ───── Parcel (parcel.h)      while its destination's shard has it
//
// One shard owns them. Slots of slabs; nothing here allocates.

#pragma once

#include <cstdint>

#include "engine/base/intrusive_list.h"
#include "engine/base/message_id.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/spool/record.h"

namespace sluice::delivery {

struct HomeDestination;
struct KeptParcel;
struct Message;

struct KeptMessage {
  MessageId id;
  spool::Extent accepted;          // Its promise.
  spool::SegmentId first_segment;  // Where its body begins: it must not be given back.
  Instant kept_since{};  // Acceptance by the monotonic clock: a wall clock that jumps bounces
                         // nothing.
  Message* resident = nullptr;
  KeptParcel* first_parcel = nullptr;  // Those that are not final are a chain.
  ListHook segment_hook;               // Among those that begin in that segment.
  uint32_t log_bytes = 0;  // What it takes in the log: at most a body of 1 GiB and its records.
  uint32_t parcels = 0;    // That are not finished.
};

enum class ParcelState : uint8_t {
  kScheduled,  // Its timer says when it is tried next.
  kWaiting,    // It is due, and in the queue of its destination here; its timer has its expiry.
  kDoomed,     // Its time is up: it waits to be bounced.
  kWaking,     // Its message is being read back.
  kOut,        // A Parcel has it.
};

struct KeptParcel {
  Timer timer;
  ListHook hook;  // kWaiting: in the destination's queue. kDoomed: among those.
  KeptMessage* message = nullptr;
  KeptParcel* next = nullptr;  // Of the message.
  HomeDestination* destination = nullptr;
  spool::Extent deferred;  // The records of its last deferral; nowhere: its promise tells.
  uint16_t first_recipient = 0;
  uint16_t recipients = 0;
  uint16_t attempts = 0;  // Finished rounds.
  ParcelState state = ParcelState::kScheduled;
  uint8_t given_up : 1 = 0;       // All that is wanted is its bounce.
  uint8_t reply_known : 1 = 0;    // The message in memory has what its last deferral told.
  uint8_t failed_reads : 3 = 0;   // Of its promise, in a row.
  uint8_t failed_bodies : 3 = 0;  // Reads of its body, in a row.
};

static_assert(sizeof(KeptMessage) <= 80);
static_assert(sizeof(KeptParcel) <= 104);

}  // namespace sluice::delivery
