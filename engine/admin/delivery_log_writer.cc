#include "engine/admin/delivery_log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/thread.h"

namespace sluice::admin {
namespace {

// After a write that failed. A full disk does not empty faster.
constexpr std::chrono::milliseconds kRetryPause(500);

// Buffers kept for reuse, and the largest one that is worth keeping.
constexpr size_t kSparesMax = 16;
constexpr size_t kSpareBytesMax = 1 << 20;

// A process that died in the middle of a line must not spoil the next line.
void EndTornLine(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return;
  char last = '\n';
  if (pread(descriptor, &last, 1, status.st_size - 1) != 1 || last == '\n') return;
  // A failure shows again at the first line, where it is dealt with.
  static_cast<void>(!write(descriptor, "\n", 1));
}

int OpenFile(const std::string& path) {
  int descriptor = open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  // A pipe or a terminal that may only be written to.
  if (descriptor < 0 && errno == EACCES) {
    descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  }
  if (descriptor >= 0) EndTornLine(descriptor);
  return descriptor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeliveryLogWriter>> DeliveryLogWriter::Open(const Options& options) {
  CHECK(options.shards > 0);
  const int descriptor = OpenFile(options.path);
  if (descriptor < 0) {
    return absl::UnavailableError(absl::StrCat("the delivery log ", options.path,
                                               " cannot be opened: ", std::strerror(errno)));
  }
  return std::unique_ptr<DeliveryLogWriter>(new DeliveryLogWriter(options, descriptor));
}

DeliveryLogWriter::DeliveryLogWriter(const Options& options, int descriptor)
    : options_(options), descriptor_(descriptor), waiting_bytes_(options.shards) {
  thread_ = StartThread([this] { Run(); });
}

DeliveryLogWriter::~DeliveryLogWriter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  close(descriptor_);
  CountUnwritten();
  if (missed_ > 0) SayMissed();
}

bool DeliveryLogWriter::Give(uint32_t shard, std::string& lines, uint64_t events) {
  CHECK(shard < options_.shards);
  if (lines.empty()) return true;
  {
    const std::lock_guard lock(mutex_);
    CHECK(!stop_);
    if (waiting_bytes_[shard] + lines.size() > options_.waiting_bytes_max) return false;
    waiting_bytes_[shard] += lines.size();
    given_.push_back({.shard = shard, .events = events, .lines = std::move(lines)});
    lines.clear();
    if (!spares_.empty()) {
      lines = std::move(spares_.back());
      spares_.pop_back();
    }
  }
  wake_.notify_one();
  return true;
}

void DeliveryLogWriter::Miss(uint64_t events) {
  const std::lock_guard lock(mutex_);
  missed_ += events;
}

void DeliveryLogWriter::Reopen() {
  {
    const std::lock_guard lock(mutex_);
    reopen_ = true;
  }
  wake_.notify_one();
}

void DeliveryLogWriter::Run() {
  while (WaitForWork()) WriteChunks();
}

// Takes what was given. False: all is done, or is given up because we stop and the disk does not
// take it.
bool DeliveryLogWriter::WaitForWork() {
  bool reopen = false;
  {
    std::unique_lock lock(mutex_);
    const auto work = [this] { return stop_ || reopen_ || !given_.empty(); };
    if (in_trouble_) {
      wake_.wait_for(lock, kRetryPause, [this] { return stop_ || reopen_; });
    } else {
      wake_.wait(lock, work);
    }
    const bool tried_after_stop = stopping_;
    stopping_ = stop_;
    reopen = std::exchange(reopen_, false);
    if (next_ == taken_.size()) {
      taken_.clear();
      next_ = 0;
      taken_.swap(given_);
    }
    if (stopping_ && (taken_.empty() || (tried_after_stop && in_trouble_))) return false;
  }
  if (reopen) ReopenFile();
  return true;
}

void DeliveryLogWriter::WriteChunks() {
  while (next_ < taken_.size()) {
    if (!WriteRest(taken_[next_].lines)) return;
    Taken(taken_[next_]);
    ++next_;
    written_ = 0;
  }
}

// Writes the chunk from where it stopped. False: the file takes no more for now.
bool DeliveryLogWriter::WriteRest(const std::string& lines) {
  while (written_ < lines.size()) {
    const ssize_t bytes = write(descriptor_, lines.data() + written_, lines.size() - written_);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) {
      SayTrouble("cannot be written", bytes < 0 ? errno : ENOSPC);
      return false;
    }
    written_ += static_cast<size_t>(bytes);
  }
  in_trouble_ = false;
  return true;
}

void DeliveryLogWriter::Taken(Chunk& chunk) {
  const std::lock_guard lock(mutex_);
  CHECK(waiting_bytes_[chunk.shard] >= chunk.lines.size());
  waiting_bytes_[chunk.shard] -= chunk.lines.size();
  if (spares_.size() == kSparesMax || chunk.lines.capacity() > kSpareBytesMax) {
    std::string().swap(chunk.lines);
    return;
  }
  chunk.lines.clear();
  spares_.push_back(std::move(chunk.lines));
}

void DeliveryLogWriter::ReopenFile() {
  const int descriptor = OpenFile(options_.path);
  if (descriptor < 0) return SayTrouble("cannot be opened anew, the old file goes on", errno);
  close(descriptor_);
  descriptor_ = descriptor;
  // A line that was cut in the old file comes whole in the new one; those before it are not
  // repeated.
  if (written_ == 0) return;
  const size_t end_of_line = taken_[next_].lines.rfind('\n', written_ - 1);
  written_ = end_of_line == std::string::npos ? 0 : end_of_line + 1;
}

// Once for each time that it goes wrong, not for each try.
void DeliveryLogWriter::SayTrouble(const char* what, int error) {
  if (!in_trouble_) {
    std::fprintf(stderr, "sluice: the delivery log %s %s: %s\n", options_.path.c_str(), what,
                 std::strerror(error));
  }
  in_trouble_ = true;
}

// After the thread's end. A chunk is a line an event, or one line that tells of many: what was
// written of it has a line's end for each event that is told.
void DeliveryLogWriter::CountUnwritten() {
  for (size_t i = next_; i < taken_.size(); ++i) missed_ += taken_[i].events;
  for (const Chunk& chunk : given_) missed_ += chunk.events;
  if (next_ == taken_.size()) return;
  const std::string& lines = taken_[next_].lines;
  const auto written = lines.begin() + static_cast<std::ptrdiff_t>(written_);
  missed_ -= static_cast<uint64_t>(std::count(lines.begin(), written, '\n'));
}

void DeliveryLogWriter::SayMissed() const {
  std::fprintf(stderr, "sluice: %llu %s missing at the end of the delivery log %s\n",
               static_cast<unsigned long long>(missed_), missed_ == 1 ? "event is" : "events are",
               options_.path.c_str());
}

}  // namespace sluice::admin
