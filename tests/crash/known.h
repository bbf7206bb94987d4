// What the world outside of the engine knew at a point of a recording: what was sent, what was
// promised, what the engine has said of each recipient and what its receiver has taken.
//
// The simulator's ledger says what is true now. It is looked at before each event of the disk, and
// what is new since the last time is marked; from the marks what was known at any point is made
// again.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/time.h"
#include "tests/sim/ledger.h"

namespace sluice::crash {

struct KnownRecipient {
  bool taken = false;      // Its receiver has taken the message.
  bool decided = false;    // The engine, in this life, has appended an outcome that is final.
  bool given_up = false;   // Some time: one that is none of delivery.
  bool delivered = false;  // The engine has released the event of the outcome: for good.
  bool bounced = false;
  bool reported = false;  // Somebody has taken a bounce about it.
  bool operator==(const KnownRecipient&) const = default;

  bool told() const { return delivered || bounced; }
};

struct KnownMessage {
  bool sent = false;         // Its dot is on the way.
  bool promised = false;     // A 250 was given, or the event of it released.
  bool report_died = false;  // A bounce about it was itself given up.
  std::vector<KnownRecipient> recipients;
  bool operator==(const KnownMessage&) const = default;
};

// What a destination with a limit on recipients has seen, in the order of time.
struct KnownWindow {
  std::string destination;
  bool of_system = false;
  Duration period{};
  std::vector<WallTime> seen;
};

using Known = std::vector<KnownMessage>;  // By the message's number.

Known KnownNow(const sim::Ledger& ledger);

// Told to a ledger that begins anew, after what was known.
void Tell(const Known& known, const std::vector<sim::MessageFacts>& facts, sim::Ledger& ledger);

class Marks {
 public:
  // At this point, so much is known.
  void Note(size_t point, Known known);

  // Points must not go down from one call to the next of the same walk.
  class Walk {
   public:
    explicit Walk(const Marks& marks) : marks_(marks) {}
    const Known& At(size_t point);
    size_t marks() const { return next_; }  // As many were there.

   private:
    const Marks& marks_;
    size_t next_ = 0;
    Known known_;
  };

 private:
  struct Mark {
    size_t point = 0;
    size_t message = 0;
    KnownMessage known;
  };
  std::vector<Mark> marks_;
  Known last_;
};

}  // namespace sluice::crash
