// Writes the delivery log's file: one thread that takes whole chunks of lines from all shards, so
// that a slow disk holds no shard up.
//
// A chunk is handed over by moving it into a list under a mutex: one lock for each durable batch,
// not for each event. When the disk cannot take more (full, or too slow), chunks wait up to a bound
// for each shard; beyond it Give refuses, and the shard counts what it drops. A chunk that could be
// written only in part is finished later from where it stopped, so that no line is torn. What the
// file has not taken at the end is counted, and said once on stderr.
//
// The file is opened for appending, so that a copy-and-truncate rotation works too; after a rename,
// Reopen makes the new file.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::admin {

class DeliveryLogWriter {
 public:
  struct Options {
    std::string path;
    uint32_t shards = 1;
    // Lines that a shard has waiting. 64 MiB are about 150,000 lines: some seconds of a busy shard.
    uint64_t waiting_bytes_max = 64 << 20;
  };

  // Opens the file and starts the thread.
  static absl::StatusOr<std::unique_ptr<DeliveryLogWriter>> Open(const Options& options);
  // Writes what it was given, as far as the disk takes it, and says how many events are missing.
  ~DeliveryLogWriter();
  DeliveryLogWriter(const DeliveryLogWriter&) = delete;
  DeliveryLogWriter& operator=(const DeliveryLogWriter&) = delete;

  // Takes the lines, which tell of so many events, and leaves an empty buffer in their place;
  // false, and nothing taken, when too much of this shard waits. Any thread, one at a time a shard.
  bool Give(uint32_t shard, std::string& lines, uint64_t events);

  // So many events were dropped, and no line of a shard can tell of them any more. Any thread.
  void Miss(uint64_t events);

  // Before its next write the thread opens the path anew (SIGHUP, after a rotation). If that fails,
  // it goes on with the old file and says so on stderr. Any thread.
  void Reopen();

 private:
  struct Chunk {
    uint32_t shard = 0;
    uint64_t events = 0;
    std::string lines;
  };

  DeliveryLogWriter(const Options& options, int descriptor);

  // The thread.
  void Run();
  bool WaitForWork();
  void WriteChunks();
  bool WriteRest(const std::string& lines);
  void Taken(Chunk& chunk);
  void ReopenFile();
  void SayTrouble(const char* what, int error);
  void CountUnwritten();
  void SayMissed() const;

  const Options options_;
  int descriptor_;  // The thread's.

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Chunk> given_;
  std::vector<uint64_t> waiting_bytes_;  // By shard.
  std::vector<std::string> spares_;      // Written buffers, with their capacity.
  uint64_t missed_ = 0;
  bool reopen_ = false;
  bool stop_ = false;

  // The thread's own: what it took from given_ and has not written whole.
  std::vector<Chunk> taken_;
  size_t next_ = 0;     // In taken_.
  size_t written_ = 0;  // Of taken_[next_].
  bool stopping_ = false;
  bool in_trouble_ = false;

  std::thread thread_;
};

}  // namespace sluice::admin
