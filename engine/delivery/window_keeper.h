// Keeps the windows of recipient limits in this shard's log, so that they outlive the process.
//
// The dispatcher hands over each state that is to be written (policy/destination_budget.h); it
// becomes a record, and is told of as kept when the record is durable. The keeper knows the latest
// record of each window and in which segment it lies, says to the log that it lives and when it has
// died, and writes it anew when the log wants that segment.
//
// A record that has reserved nothing dies when the last of what it tells is a period old; one that
// has reserved something lives until the next of its window. What this shard's segments hold for
// destinations of another shard (the number of shards has changed) lives for a period from the
// start: by then the owner has written its own, or has sent nothing.
//
// The wall clock says how long the engine was away, and no less than nothing. While it runs, times
// are reckoned by the clock that does not jump; if the wall clock does, all is written anew with
// times of the new reckoning.
//
// Bound: windows_max windows that are written; a state of another one is refused, and its mail
// waits. So it is when the log has no space for it. What a start brings is never refused. A state
// that reserves nothing of a window that is known is never refused either: it is written when there
// is space, and until then the record before it stands.
//
// One shard owns it, beside its home: not thread-safe.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/limits.h"
#include "engine/base/time.h"
#include "engine/spool/log.h"
#include "engine/spool/recovery.h"

namespace sluice::delivery {

// What a shard takes on of a window that recovery found.
struct InheritedWindow {
  spool::WindowRecord record;
  spool::SegmentId segment;  // That holds it, in this shard's log; 0: it is another shard's.
  bool owned = false;        // The destination is this shard's.
};

struct KeptWindow {
  std::string destination;
  uint64_t number = 0;
};

class WindowKeeper {
 public:
  struct Options {
    uint32_t windows_max = limits::kWindowsPerShardMax;
  };

  // `log` is lent, and has not been begun: what lives is said here. `greatest` is recovery's.
  WindowKeeper(const Options& options, spool::Log& log, std::vector<InheritedWindow> inherited,
               uint64_t greatest, Now now);

  // Writes a state of a window. Returns the number under which it will be told of as kept; 0: not
  // now, look again in kLookAgainAfter. `record`'s number and time are filled in here; nothing seen
  // and nothing reserved: the window has ended.
  uint64_t Keep(spool::WindowRecord record, Now now);
  static constexpr Duration kLookAgainAfter = std::chrono::seconds(1);

  // Appends what has become durable since the last call.
  void TakeKept(std::vector<KeptWindow>& kept);

  // What was counted of a destination before the start, with all that was reserved among the seen;
  // given once, when the destination is made.
  std::vector<spool::WindowRecord> TakeRestored(absl::string_view destination, Now now);

  // Once a turn: expiry, moves, what could not be written before.
  void Turn(Now now);

  // TakeKept has something.
  bool busy() const { return !awaited_.empty() && awaited_.front().batch <= log_.durable(); }
  // What has been written is durable, and has been told of.
  bool AtRest() const { return log_.failed() || awaited_.empty(); }
  bool failed() const { return log_.failed(); }
  size_t windows() const { return windows_.size(); }

 private:
  struct Window {
    spool::WindowRecord record;  // As it is, or is to be, written.
    spool::SegmentId segment;    // Of the last record; 0: there is none in this log.
    uint64_t log_bytes = 0;
    Instant expires = kNever;
    bool own = true;       // Of a destination of this shard.
    bool awaited = false;  // To be told of as kept, when it is written.
    bool written = true;   // The last record says what `record` does; or it is yet to be written.
    ListHook hook;         // Among those written, or those unwritten.
  };
  using Windows = IntrusiveList<Window, &Window::hook>;

  void Inherit(InheritedWindow& inherited, Now now);
  void Write(Window& window, Now now);
  void Leave(Window& window);
  void LeaveSegment(Window& window);
  void Forget(Window& window);
  void Reckon(spool::WindowRecord& record, Duration step) const;
  Instant ExpiryOf(const spool::WindowRecord& record, Now now) const;
  void ExpireSome(Now now);
  void MoveSome(Now now);
  void WriteSome(Now now);
  void FollowWallClock(Now now);

  const Options options_;
  spool::Log& log_;
  uint64_t last_number_;
  Duration wall_ahead_;  // Of the monotonic clock, when the records' times were reckoned.

  absl::flat_hash_map<spool::WindowKey, std::unique_ptr<Window>> windows_;  // Look-up only.
  Windows written_;              // In the order in which they stand in the log.
  Windows unwritten_;            // Oldest first.
  Window* look_next_ = nullptr;  // Among those written: whose age is looked at next.
  struct Awaited {
    uint64_t batch = 0;
    KeptWindow kept;
  };
  std::deque<Awaited> awaited_;
  absl::flat_hash_map<std::string, std::vector<spool::WindowRecord>> restored_;
  Instant restored_until_{};  // Then none of them counts.
};

}  // namespace sluice::delivery
