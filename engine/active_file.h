// PATH/active in the spool's folder: which messages the shards are at work on
// (delivery/active_messages.h), in a file that is mapped and shared, so that it outlives the
// process. It is never synced: it tells of the end of a process, not of a machine.
//
// Opened once at the start, when the spool's lock is held: what the last run left is counted into
// suspects.json, durably, and then the file is this run's. Its end is told by the destructor, which
// a crash does not run. The shards must have ended by then.
//
// One page with the header, the suspects, then the slots of each shard. All of it is allocated: a
// store never meets a full disk.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/delivery/active_messages.h"
#include "engine/suspects.h"

namespace sluice {

class ActiveFile {
 public:
  // `boot_id`: the machine's since it was started. An error: the file could not be made; then the
  // engine runs without.
  static absl::StatusOr<std::unique_ptr<ActiveFile>> Open(const std::string& spool, uint32_t shards,
                                                          const std::string& boot_id);
  ~ActiveFile();

  delivery::ActiveMessages& Of(uint32_t shard) { return *shards_[shard]; }
  const std::vector<Suspect>& suspects() const { return suspects_; }
  bool crashed() const { return crashed_; }  // The last run.
  // Whether what it left is counted for good. If not, it holds for this run.
  const absl::Status& saved() const { return saved_; }

 private:
  struct Header;
  ActiveFile() = default;

  absl::Status Map(const std::string& path, uint32_t shards);
  void Begin(uint32_t shards, const std::string& boot_id, uint64_t run);

  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
  std::vector<Suspect> suspects_;
  bool crashed_ = false;
  absl::Status saved_;
  std::vector<std::unique_ptr<delivery::ActiveMessages>> shards_;
};

// /proc/sys/kernel/random/boot_id; empty: it cannot be read, and no crash is ever counted.
std::string ReadBootId();

}  // namespace sluice
