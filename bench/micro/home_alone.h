// A home without its shard, for benchmarks: its log is on a disk that takes everything at once
// (prompt_io.h), and whoever has it plays the destination's shard, at which every parcel is
// delivered by its first attempt. Time stands still.

#pragma once

#include <chrono>
#include <vector>

#include "bench/micro/prompt_io.h"
#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/attempt.h"
#include "engine/delivery/home.h"
#include "engine/spool/log.h"
#include "tests/engine/delivery/no_events.h"
#include "tests/engine/spool/blank_disk.h"

namespace sluice::delivery {

inline constexpr Now kNow = {.instant = Instant(std::chrono::hours(1)),
                             .wall = WallTime(std::chrono::seconds(1'764'041'281))};

struct HomeAlone {
  PromptIo io;
  spool::BlankDisk disk;
  NoEvents events;
  TimerWheel timers{kNow.instant};
  Random random{1};
  spool::Log log{{}, disk, {}, 1};
  Home home{{.hostname = "mta.example.net"}, io, log, timers, random, events};

  HomeAlone() { CHECK(log.Begin(kNow.wall).ok()); }

  // The parcel's recipients get their mail, after its body has been lent.
  void Deliver(Parcel& parcel) {
    parcel.body_state = BodyState::kAsked;
    home.WantBody(parcel);
    CHECK(home.TakeBody() == &parcel);
    CHECK(parcel.body_state == BodyState::kLent);
    parcel.reply = taken_;
    parcel.command = "the final dot";
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      parcel.outcome(i).verdict = Verdict::kDelivered;
    }
    parcel.result = ParcelResult::kAttempted;
    home.OnReturned(parcel, kNow);
  }

 private:
  const smtp::Reply taken_ = OwnReply("250 2.0.0 Ok: queued as 4Xb1zr5kxyz");
};

}  // namespace sluice::delivery
