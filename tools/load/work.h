// What is still to be sent, and when: the messages that were asked for, at their rate, and the
// pieces of them that come back.
//
// A piece is recipients of one message that travel together: at first all of them; after a refusal
// of some those that are tried again. Each time it is sent it is a message of its own, with an id
// of its own, so that an id that arrives twice was made twice by somebody else.

#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "engine/base/random.h"
#include "engine/base/time.h"
#include "tools/load/domain_choice.h"
#include "tools/load/size_mix.h"

namespace sluice::tools {

struct Piece {
  uint32_t domain = 0;  // Of the domain choice.
  uint16_t size = 0;    // Of the size mix.
  uint16_t recipients = 0;
};

class Work {
 public:
  // Pieces that wait to be tried again: 64 MiB. One more is not taken.
  static constexpr size_t kWaitingMax = 4 << 20;

  struct Options {
    uint64_t messages = 0;
    double rate_per_s = 0;  // 0: as fast as possible.
    uint16_t recipients_per_message = 1;
    uint64_t seed = 1;
  };

  // `sizes` and `domains` must outlive this.
  Work(const Options& options, const SizeMix& sizes, const DomainChoice& domains, Instant start);

  // The next piece, if one is due. What is taken must be finished.
  std::optional<Piece> Take(Instant now);
  void Finish();

  // Before Finish: parts of the piece that go out again, at once or from `due` on. `due` never goes
  // back. False: too many wait already.
  void PutBack(const Piece& piece) { at_once_.push_back(piece); }
  bool Later(const Piece& piece, Instant due);

  uint64_t unassigned() const { return fresh_ + at_once_.size() + waiting_.size(); }
  uint64_t taken() const { return taken_; }
  bool done() const { return unassigned() == 0 && taken_ == 0; }
  // When Take will next give something, as far as is known; kNever when nothing is left.
  Instant NextDue() const;

 private:
  struct Waiting {
    Piece piece;
    Instant due;
  };

  bool AnyDue(Instant now) const;

  Options options_;
  const SizeMix& sizes_;
  const DomainChoice& domains_;
  Random chance_;
  uint64_t fresh_;
  uint64_t taken_ = 0;
  std::deque<Piece> at_once_;
  std::deque<Waiting> waiting_;
  Instant next_start_;  // By the rate.
};

}  // namespace sluice::tools
