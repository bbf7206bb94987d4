// The post between shards: a mailbox for each ordered pair, and what is said in them.
//
// A parcel goes by pointer; putting it into a mailbox hands it over, with everything in it. The
// shard that sleeps says so before it looks at its mailboxes a last time, and only a shard that
// says so is woken.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/base/limits.h"
#include "engine/delivery/dispatcher.h"
#include "engine/io/io.h"
#include "engine/shard/mailbox.h"

namespace sluice::shard {

enum class MailKind : uint8_t {
  kParcelOut,    // To the destination's shard.
  kParcelHome,   // Back to its home.
  kBodyWanted,   // To the home.
  kBodyDecided,  // To the destination's shard.
  kTables,       // From the control thread: new tables.
  kTask,         // From the control thread: something to be looked at or done between two turns.
  kDrain,        // From the control thread: finish what is under way.
  kAbort,        // From the control thread: end it now.
};

class Shard;

// Run on the shard's thread. Whoever sends it keeps it until `done`, or until the shard has ended.
struct Task {
  virtual ~Task() = default;
  std::function<void(Shard&, Now)> run;
  std::atomic<bool> done{false};
};

struct Mail {
  MailKind kind = MailKind::kParcelOut;
  delivery::Parcel* parcel = nullptr;
  Task* task = nullptr;
  const delivery::Dispatcher::Tables* tables = nullptr;  // Lent until it has been taken up.
};

// Enough for one turn's mail of a busy pair; what is over waits with its writer.
inline constexpr size_t kMailboxCapacity = 4096;
using ShardMailbox = Mailbox<Mail, kMailboxCapacity>;

// What the shards and the control thread share. Made before the shards, outlives them.
class Post {
 public:
  explicit Post(uint32_t shards);

  uint32_t shards() const { return shards_; }
  // The control thread writes as number shards().
  uint32_t control() const { return shards_; }
  ShardMailbox& Box(uint32_t from, uint32_t to) { return *boxes_[from * shards_ + to]; }

  // Whether any mail waits for `to`.
  bool Waiting(uint32_t to) const;

  // --- Sleeping and waking. The waker is set by the shard's thread before it first sleeps.
  void SetWaker(uint32_t shard, io::Waker* waker);
  // Says that `shard` is about to sleep. False: there is mail, do not.
  bool BeginSleep(uint32_t shard);
  void EndSleep(uint32_t shard);
  // After Publish: wakes `shard` if it sleeps. Any thread.
  void Notify(uint32_t shard);
  // Wakes it in any case: for what does not come by mail (routes).
  void Wake(uint32_t shard);

  // --- Rest. A shard that has drained may still get a parcel back; when all are at rest, none
  // will.
  void SetAtRest(uint32_t shard, bool at_rest);
  bool AllAtRest() const;

  // --- Said by the shards, read by the control thread.
  std::atomic<uint64_t>& table_version(uint32_t shard) { return states_[shard].table_version; }
  std::atomic<bool>& failed(uint32_t shard) { return states_[shard].failed; }
  // How many messages it has taken up after the start; -1: it is not done.
  std::atomic<int64_t>& taken_up(uint32_t shard) { return states_[shard].taken_up; }

 private:
  struct alignas(64) State {
    std::atomic<bool> sleeping{false};
    std::atomic<io::Waker*> waker{nullptr};
    std::atomic<uint64_t> table_version{0};
    std::atomic<bool> at_rest{false};
    std::atomic<bool> failed{false};
    std::atomic<int64_t> taken_up{-1};
  };

  uint32_t shards_;
  std::vector<std::unique_ptr<ShardMailbox>> boxes_;
  std::unique_ptr<State[]> states_;
};

}  // namespace sluice::shard
