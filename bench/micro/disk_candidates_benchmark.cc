// What io_uring and the file system could give the spool's log at best: a batch made durable in a
// file of fixed size, each candidate beside the plain way that the engine goes.
// bench/micro/README.md keeps the figures and what was decided from them.
//
//   plain          writev of gathered parts; when it is done, fdatasync
//   fresh          the same in a segment that was never written, whose extents fdatasync must turn
//                  into written ones; all others have one that is used again
//   linked         the write and the fdatasync submitted together
//   one_buffer     a write of the same bytes in one piece; `registered`: that the ring knows
//                  beforehand. Copying the parts together is not in it.
//   dsync          the write says RWF_DSYNC, and no fdatasync follows
//   direct         past the page cache (O_DIRECT). With dsync and no change of the file's extents
//                  the kernel may ask the disk for a forced write and leave out the flush of its
//                  cache.
//
// CPU is the process's with the kernel's workers for its ring. The journal's thread and those that
// end writes past the cache are not in it, but in `machine_us`: the processor time a batch of
// everything that ran meanwhile (with the making of fresh segments), by the kernel's ticks, which
// says something on a quiet machine and after some hundred batches. Time is the wall clock's.
//
// Files are without a name in SLUICE_BENCH_FOLDER, else beside this program; it must be the file
// system that is to be judged. Run: build/bench/micro/disk_candidates_benchmark

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bench/micro/candidate_ring.h"

namespace sluice {
namespace {

constexpr size_t kSegmentBytes = 16 << 20;
constexpr size_t kBatchBytesMax = 1 << 20;

enum class WriteWay { kGathered, kOneBuffer, kRegistered };
enum class DurableBy { kSync, kLinkedSync, kDsync };

struct Choices {
  WriteWay write = WriteWay::kGathered;
  DurableBy durable_by = DurableBy::kSync;
  bool direct = false;
  bool fresh = false;
};

// Processor time of this machine's whole life, but for idle and waiting.
double MachineSeconds() {
  std::FILE* const file = std::fopen("/proc/stat", "re");
  CHECK(file != nullptr);
  unsigned long user, nice, system, irq, softirq;
  const int read =
      std::fscanf(file, "cpu %lu %lu %lu %*u %*u %lu %lu", &user, &nice, &system, &irq, &softirq);
  CHECK(read == 5);
  std::fclose(file);
  return static_cast<double>(user + nice + system + irq + softirq) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::string Folder() {
  const char* const chosen = std::getenv("SLUICE_BENCH_FOLDER");
  if (chosen != nullptr) return chosen;
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

// Pages that one write can take as they are, also past the cache.
class Memory {
 public:
  Memory() {
    void* memory =
        mmap(nullptr, kBatchBytesMax, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    bytes_ = static_cast<std::byte*>(memory);
    for (size_t i = 0; i < kBatchBytesMax; ++i) bytes_[i] = static_cast<std::byte>(i % 251);
  }
  ~Memory() { munmap(bytes_, kBatchBytesMax); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::span<std::byte> First(size_t bytes) const { return {bytes_, bytes}; }

 private:
  std::byte* bytes_;
};

// A file of fixed size, as the spool's segments are. Its errors are refusals of the ring's.
class Segment {
 public:
  Segment(CandidateRing& ring, const Memory& memory, bool direct, bool fresh)
      : ring_(ring), direct_(direct) {
    Make();
    if (!fresh) Fill(memory);
  }
  ~Segment() { Drop(); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  int descriptor() const { return descriptor_; }

  void MakeAnew() {
    Drop();
    Make();
  }

  bool Holds(std::span<const std::byte> batch, uint64_t offset) const {
    const Memory read;
    const std::span<std::byte> into = read.First(batch.size());
    const auto got = pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    return got == static_cast<ssize_t>(batch.size()) &&
           memcmp(into.data(), batch.data(), batch.size()) == 0;
  }

 private:
  void Make() {
    if (!ring_.refusal().empty()) return;
    const int flags = O_TMPFILE | O_RDWR | O_CLOEXEC | (direct_ ? O_DIRECT : 0);
    descriptor_ = open(Folder().c_str(), flags, 0600);
    if (descriptor_ < 0) return ring_.Refuse("open in SLUICE_BENCH_FOLDER", errno);
    if (const int error = posix_fallocate(descriptor_, 0, kSegmentBytes); error != 0) {
      return ring_.Refuse("posix_fallocate", error);
    }
    if (fsync(descriptor_) != 0) ring_.Refuse("fsync", errno);
  }
  void Fill(const Memory& memory) {
    const std::span<const std::byte> piece = memory.First(kBatchBytesMax);
    for (size_t offset = 0; offset < kSegmentBytes; offset += piece.size()) {
      if (!ring_.refusal().empty()) return;
      const auto wrote =
          pwrite(descriptor_, piece.data(), piece.size(), static_cast<off_t>(offset));
      if (wrote < 0) return ring_.Refuse("pwrite", errno);
      CHECK(static_cast<size_t>(wrote) == piece.size());
    }
    if (fsync(descriptor_) != 0) ring_.Refuse("fsync", errno);
  }
  void Drop() {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = -1;
  }

  CandidateRing& ring_;
  const bool direct_;
  int descriptor_ = -1;
};

// Headers and bodies in turn, as a batch of the log has them.
std::vector<iovec> Parts(std::span<std::byte> batch) {
  std::vector<iovec> parts;
  for (size_t bytes = 4096; !batch.empty(); bytes = bytes == 4096 ? 10'000 : 4096) {
    const std::span<std::byte> part = batch.first(std::min(bytes, batch.size()));
    parts.push_back({.iov_base = part.data(), .iov_len = part.size()});
    batch = batch.subspan(part.size());
  }
  return parts;
}

// Makes one batch after the other durable.
class Log {
 public:
  Log(CandidateRing& ring, const Choices& choices, std::span<std::byte> batch)
      : ring_(ring), choices_(choices), batch_(batch), parts_(Parts(batch)) {
    if (choices.write != WriteWay::kRegistered || !ring.refusal().empty()) return;
    const iovec whole{.iov_base = batch.data(), .iov_len = batch.size()};
    const int result = io_uring_register_buffers(&ring.ring(), &whole, 1);
    if (result < 0) ring.Refuse("registering memory", -result);
  }

  void Append(const Segment& segment, uint64_t offset) {
    io_uring_sqe& write = ring_.Next();
    PrepareWrite(write, segment.descriptor(), offset);
    switch (choices_.durable_by) {
      case DurableBy::kSync:
        Await(1);
        if (!ring_.refusal().empty()) return;
        PrepareSync(segment);
        return Await(1);
      case DurableBy::kLinkedSync:
        write.flags |= IOSQE_IO_LINK;
        PrepareSync(segment);
        return Await(2);
      case DurableBy::kDsync:
        write.rw_flags = RWF_DSYNC;
        return Await(1);
    }
  }

 private:
  static constexpr uint64_t kWrite = 1;
  static constexpr uint64_t kSync = 2;

  void PrepareWrite(io_uring_sqe& sqe, int file, uint64_t offset) {
    const auto bytes = static_cast<unsigned>(batch_.size());
    switch (choices_.write) {
      case WriteWay::kGathered:
        io_uring_prep_writev(&sqe, file, parts_.data(), static_cast<unsigned>(parts_.size()),
                             offset);
        break;
      case WriteWay::kOneBuffer:
        io_uring_prep_write(&sqe, file, batch_.data(), bytes, offset);
        break;
      case WriteWay::kRegistered:
        io_uring_prep_write_fixed(&sqe, file, batch_.data(), bytes, offset, 0);
        break;
    }
    sqe.user_data = kWrite;
  }
  void PrepareSync(const Segment& segment) {
    io_uring_sqe& sqe = ring_.Next();
    io_uring_prep_fsync(&sqe, segment.descriptor(), IORING_FSYNC_DATASYNC);
    sqe.user_data = kSync;
  }
  void Await(int completions) {
    while (completions > 0) {
      ring_.Turn([&](const io_uring_cqe& cqe) {
        --completions;
        Take(cqe);
      });
    }
  }
  void Take(const io_uring_cqe& cqe) {
    const bool write = cqe.user_data == kWrite;
    if (cqe.res == -ECANCELED) return;  // The sync behind a write that was refused.
    if (cqe.res < 0) return ring_.Refuse(write ? "write" : "fdatasync", -cqe.res);
    CHECK(static_cast<size_t>(cqe.res) == (write ? batch_.size() : 0));
  }

  CandidateRing& ring_;
  const Choices choices_;
  const std::span<std::byte> batch_;
  std::vector<iovec> parts_;
};

// No batch has the bytes that lay there before.
void Stamp(std::span<std::byte> batch, uint64_t number) {
  memcpy(batch.data(), &number, sizeof(number));
  memcpy(batch.data() + batch.size() - sizeof(number), &number, sizeof(number));
}

void Batch(benchmark::State& state, Choices choices) {
  const Memory memory;
  const std::span<std::byte> batch = memory.First(static_cast<size_t>(state.range(0)) << 10);
  CandidateRing ring;
  Segment segment(ring, memory, choices.direct, choices.fresh);
  Log log(ring, choices, batch);
  uint64_t number = 0;
  uint64_t offset = 0;
  uint64_t next = 0;
  const double machine_before = MachineSeconds();
  for (auto _ : state) {
    if (next + batch.size() > kSegmentBytes) {
      next = 0;
      state.PauseTiming();
      if (choices.fresh) segment.MakeAnew();
      state.ResumeTiming();
    }
    if (!ring.refusal().empty()) break;
    offset = next;
    Stamp(batch, ++number);
    log.Append(segment, offset);
    next += batch.size();
  }
  if (!ring.refusal().empty()) return state.SkipWithError(ring.refusal().c_str());
  const double machine_seconds = MachineSeconds() - machine_before;
  CHECK(segment.Holds(batch, offset));
  const auto batches = static_cast<double>(state.iterations());
  state.counters["machine_us"] = machine_seconds * 1e6 / batches;
  state.counters["enters"] = static_cast<double>(ring.enters()) / batches;
}

void Sizes(benchmark::internal::Benchmark* each) {
  each->ArgName("KiB")->Arg(16)->Arg(256)->Arg(1024);
  each->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);
}

#define BATCH(name, ...) BENCHMARK_CAPTURE(Batch, name, Choices{__VA_ARGS__})->Apply(Sizes)

BATCH(plain);
BATCH(plain_fresh, .fresh = true);
BATCH(plain_linked, .durable_by = DurableBy::kLinkedSync);
BATCH(one_buffer, .write = WriteWay::kOneBuffer);
BATCH(registered, .write = WriteWay::kRegistered);
BATCH(plain_dsync, .durable_by = DurableBy::kDsync);
BATCH(direct, .write = WriteWay::kOneBuffer, .direct = true);
BATCH(direct_registered, .write = WriteWay::kRegistered, .direct = true);
BATCH(direct_dsync, .write = WriteWay::kOneBuffer, .durable_by = DurableBy::kDsync, .direct = true);
BATCH(direct_dsync_fresh, .write = WriteWay::kOneBuffer, .durable_by = DurableBy::kDsync,
      .direct = true, .fresh = true);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
