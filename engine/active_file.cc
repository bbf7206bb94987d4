#include "engine/active_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/base/limits.h"
#include "engine/io/clock.h"

namespace sluice {

using delivery::ActiveMessages;
using delivery::TrackedSuspect;

// Written by this program and read by it on the same machine only.
struct ActiveFile::Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t ended;  // 1: by itself.
  uint64_t run;
  uint32_t shards;
  uint32_t slots;  // Of each.
  uint64_t suspects;
  std::array<char, 40> boot_id;
};

namespace {

constexpr std::array<char, 8> kMagic = {'S', 'L', 'U', 'I', 'C', 'E', 'A', 'M'};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 4096;
constexpr size_t kSuspectsBytes = kSuspectsMax * sizeof(TrackedSuspect);

size_t FileBytes(uint32_t shards) {
  return kHeaderBytes + kSuspectsBytes + size_t{shards} * ActiveMessages::kSlots * sizeof(uint64_t);
}

absl::Status Failed(const char* call, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(call, " ", path, ": ", std::strerror(errno)));
}

std::optional<std::string> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

template <class T>
std::vector<T> TakeArray(const std::string& bytes, size_t at, size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data() + at, count * sizeof(T));
  return values;
}

// What the last run left. Nothing: no file of ours, or one that was never begun.
template <class Header>
std::optional<RunEnd> ReadEnd(const std::string& path, const std::string& boot_id) {
  const std::optional<std::string> bytes = ReadAll(path);
  Header header;
  if (!bytes || bytes->size() < kHeaderBytes + kSuspectsBytes) return std::nullopt;
  std::memcpy(&header, bytes->data(), sizeof(header));
  if (header.magic != kMagic || header.version != kVersion) return std::nullopt;
  const bool sound = header.shards <= limits::kShardsMax &&
                     header.slots == ActiveMessages::kSlots && header.suspects <= kSuspectsMax &&
                     bytes->size() >= FileBytes(header.shards);
  if (!sound) return std::nullopt;
  const std::string boot(header.boot_id.data(),
                         strnlen(header.boot_id.data(), header.boot_id.size()));
  RunEnd end = {.run = header.run};
  if (boot_id.empty() || boot != boot_id) return end;
  end.crashed = header.ended == 0;
  for (const auto& suspect : TakeArray<TrackedSuspect>(*bytes, kHeaderBytes, header.suspects)) {
    if (suspect.tried != 0) end.tried.push_back({suspect.id});
  }
  for (const uint64_t id : TakeArray<uint64_t>(*bytes, kHeaderBytes + kSuspectsBytes,
                                               size_t{header.shards} * header.slots)) {
    if (id != 0) end.active.push_back({id});
  }
  return end;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveFile>> ActiveFile::Open(const std::string& spool,
                                                             uint32_t shards,
                                                             const std::string& boot_id) {
  const std::string path = spool + "/active";
  absl::StatusOr<Suspects> suspects = LoadSuspects(spool);
  if (!suspects.ok()) return suspects.status();
  const std::optional<RunEnd> end = ReadEnd<Header>(path, boot_id);
  std::unique_ptr<ActiveFile> file(new ActiveFile());  // The constructor is private.
  if (end) {
    Suspects counted = Count(*suspects, *end);
    if (!counted.list.empty() || !suspects->list.empty()) {
      file->saved_ = SaveSuspects(spool, counted);
    }
    *suspects = std::move(counted);
    file->crashed_ = end->crashed;
  }
  file->suspects_ = std::move(suspects->list);
  if (absl::Status mapped = file->Map(path, shards); !mapped.ok()) return mapped;
  const auto run = static_cast<uint64_t>(io::ReadClock().wall.time_since_epoch().count());
  file->Begin(shards, boot_id, std::max(run, (end ? end->run : 0) + 1));
  return file;
}

absl::Status ActiveFile::Map(const std::string& path, uint32_t shards) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return Failed("open", path);
  bytes_ = FileBytes(shards);
  const int error = posix_fallocate(descriptor, 0, static_cast<off_t>(bytes_));
  if (error != 0) {
    errno = error;
    const absl::Status failed = Failed("allocate", path);
    close(descriptor);
    return failed;
  }
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const absl::Status failed = Failed("mmap", path);
  close(descriptor);
  if (memory == MAP_FAILED) return failed;
  memory_ = static_cast<std::byte*>(memory);
  return absl::OkStatus();
}

// A crash within this leaves no magic: nothing of it is counted.
void ActiveFile::Begin(uint32_t shards, const std::string& boot_id, uint64_t run) {
  std::memset(memory_, 0, bytes_);
  auto* const tracked = reinterpret_cast<TrackedSuspect*>(memory_ + kHeaderBytes);
  for (size_t i = 0; i < suspects_.size(); ++i) tracked[i].id = suspects_[i].id.value;
  absl::flat_hash_set<uint64_t> quarantined;
  for (const Suspect& suspect : suspects_) {
    if (suspect.quarantined()) quarantined.insert(suspect.id.value);
  }
  auto* slots = reinterpret_cast<uint64_t*>(memory_ + kHeaderBytes + kSuspectsBytes);
  for (uint32_t number = 0; number < shards; ++number, slots += ActiveMessages::kSlots) {
    shards_.push_back(std::make_unique<ActiveMessages>(std::span(slots, ActiveMessages::kSlots),
                                                       std::span(tracked, suspects_.size()),
                                                       quarantined));
  }
  Header header = {.magic = kMagic,
                   .version = kVersion,
                   .ended = 0,
                   .run = run,
                   .shards = shards,
                   .slots = ActiveMessages::kSlots,
                   .suspects = suspects_.size(),
                   .boot_id = {}};
  boot_id.copy(header.boot_id.data(), header.boot_id.size() - 1);
  std::memcpy(memory_, &header, sizeof(header));
}

ActiveFile::~ActiveFile() {
  if (memory_ == nullptr) return;
  reinterpret_cast<Header*>(memory_)->ended = 1;
  munmap(memory_, bytes_);
}

std::string ReadBootId() {
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  return boot_id;
}

}  // namespace sluice
