// What the records of a window allow to be sent, so that a crash at any instant leaves one that
// tells of all that was.
//
// A record says what has been seen, and reserves so many recipients more: those in flight, and some
// ahead. They are granted out of what the durable record reserved; while a newer one is being
// written, out of what either of them did, since nobody knows which a crash would leave. At all
// times, for each of the two: reserved = seen since it was made + in flight + left.
//
// Does not know the limit: whoever grants asks the window as well (budget.h).

#pragma once

#include <cstdint>

#include "engine/base/time.h"

namespace sluice::policy {

class Allowance {
 public:
  // Recipients that may be granted now. Less than nothing: so many are in flight that no record
  // tells of.
  int64_t Left() const;
  // The same of the durable record alone.
  int64_t Covered() const { return kept_left_; }

  // There were as many in flight when this was made.
  void TakeUntold(uint64_t recipients) { kept_left_ -= static_cast<int64_t>(recipients); }
  void Take(uint32_t recipients);    // Into flight.
  void Return(uint32_t recipients);  // Out of flight, and not to be counted.

  // There is a record from before the start, which reserves nothing now.
  void Restored(Duration period) { recorded_ = true, period_ = period; }

  // A record is being written that reserves `ahead` beyond those in flight now. One at a time.
  void Asked(uint64_t number, Duration period, uint32_t ahead, bool reserves);
  // It could not be, and cannot before then.
  void Refused(Instant look_again) { refused_until_ = look_again; }
  // The record of this number is durable. False: it is not the one that is being written.
  bool Kept(uint64_t number);

  bool asking() const { return asked_ != 0; }
  bool recorded() const { return recorded_; }  // There is a record, or will be.
  bool open() const { return open_; }          // The last of them has reserved something.
  Duration period() const { return period_; }  // That it speaks of.
  Instant refused_until() const { return refused_until_; }

 private:
  int64_t kept_left_ = 0;   // Of the durable record.
  int64_t asked_left_ = 0;  // Of the one that is being written.
  uint64_t asked_ = 0;      // Its number; 0: none is.
  bool recorded_ = false;
  bool open_ = false;
  Duration period_{};
  Instant refused_until_{};
};

}  // namespace sluice::policy
