#include "tests/crash/disk_past.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"

namespace sluice::crash {
namespace {

using Kind = Event::Kind;

constexpr size_t kSector = DiskPast::kSectorBytes;

// How a file that is being created may be found: not at all, empty, grown in part, whole.
constexpr uint32_t kCreateOutcomes = 4;

size_t SectorsOf(const Event& write) {
  const uint64_t first = write.offset / kSector;
  return static_cast<size_t>((write.offset + write.bytes.size() - 1) / kSector - first + 1);
}

uint64_t Mix(uint64_t seed, uint64_t value) {
  return XXH3_64bits_withSeed(&value, sizeof(value), seed);
}

bool IsThere(const Choice::Part& part, uint64_t sector) {
  switch (part.kind) {
    case '+':
      return true;
    case 'p':
      return sector < part.number;
    case 's':
      return sector >= part.number;
    case 'o':
      return sector == part.number;
    case 'b':
      return sector != part.number;
    case 'x':
      return (Mix(part.number, sector) & 1) != 0;
  }
  return false;
}

}  // namespace

// -------------------------------------------------------------------------------------------------
// Choices.

std::string Choice::ToString() const {
  std::string text = absl::StrCat(call, ",", unnamed, ":");
  for (const Part& part : parts) {
    if (text.back() != ':') text += ',';
    text += part.kind;
    if (part.kind != '-' && part.kind != '+') absl::StrAppend(&text, part.number);
  }
  return text;
}

std::optional<Choice> Choice::Parse(const std::string& text) {
  Choice choice;
  const std::vector<std::string> halves = absl::StrSplit(text, ':');
  if (halves.size() != 2) return std::nullopt;
  const std::vector<std::string> calls = absl::StrSplit(halves[0], ',');
  if (calls.size() != 2 || !absl::SimpleAtoi(calls[0], &choice.call) ||
      !absl::SimpleAtoi(calls[1], &choice.unnamed)) {
    return std::nullopt;
  }
  for (const absl::string_view word : absl::StrSplit(halves[1], ',', absl::SkipEmpty())) {
    Part part = {.kind = word[0]};
    if (word.size() > 1 && !absl::SimpleAtoi(word.substr(1), &part.number)) return std::nullopt;
    choice.parts.push_back(part);
  }
  return choice;
}

uint32_t DiskPast::Outcomes() const {
  if (point_ == 0) return 1;
  switch (recording_[point_ - 1].kind) {
    case Kind::kCreate:
      return kCreateOutcomes;
    case Kind::kRecycle:
    case Kind::kRemove:
      return 2;
    case Kind::kContent:
    case Kind::kWrite:
    case Kind::kDropped:
    case Kind::kSync:
    case Kind::kCreated:
    case Kind::kRecycled:
    case Kind::kRemoved:
      return 1;
  }
  return 1;
}

std::vector<Choice> DiskPast::Systematic() const {
  const size_t writes = unsynced_.size();
  const Choice none = {.parts = std::vector<Choice::Part>(writes)};
  const Choice all = {.parts = std::vector<Choice::Part>(writes, {.kind = '+'})};
  std::vector<Choice> choices = {none};
  if (writes > 0) choices.push_back(all);
  for (size_t i = 0; writes > 1 && i < writes; ++i) {
    choices.push_back(none);
    choices.back().parts[i] = {.kind = '+'};
    if (writes == 2) continue;  // All but one are one alone.
    choices.push_back(all);
    choices.back().parts[i] = {.kind = '-'};
  }
  for (uint32_t outcome = 1; outcome < Outcomes(); ++outcome) {
    choices.push_back(none);
    choices.back().call = outcome;
  }
  for (uint32_t unnamed = 1; unnamed <= renames_.size() && unnamed <= 2; ++unnamed) {
    choices.push_back(none);
    choices.back().unnamed = unnamed;
  }
  return choices;
}

Choice DiskPast::Draw(Random& random) const {
  Choice choice;
  choice.call = static_cast<uint32_t>(random.Below(Outcomes()));
  choice.unnamed = static_cast<uint32_t>(random.Below(std::min<size_t>(renames_.size(), 4) + 1));
  for (const size_t write : unsynced_) {
    const size_t sectors = SectorsOf(recording_[write]);
    constexpr char kKinds[] = {'-', '+', 'p', 's', 'o', 'b', 'x', 'x'};
    Choice::Part part = {.kind = kKinds[random.Below(sizeof(kKinds))]};
    if (part.kind == 'x') {
      part.number = random.Next() >> 40;
    } else if (part.kind != '-' && part.kind != '+') {
      part.number = random.Below(sectors);
    }
    choice.parts.push_back(part);
  }
  return choice;
}

// -------------------------------------------------------------------------------------------------
// What has happened.

void DiskPast::Advance() {
  CHECK(point_ < recording_.size());
  const Event& event = recording_[point_];
  switch (event.kind) {
    case Kind::kContent:
      if (event.first) {
        files_.clear();
        unsynced_.clear();
        renames_.clear();
      }
      files_[event.file] = {.id = event.id, .bytes = event.bytes, .hash = {}};
      break;
    case Kind::kWrite:
      unsynced_.push_back(point_);
      break;
    case Kind::kDropped:
      std::erase(unsynced_, event.writes.front());
      break;
    case Kind::kSync:
      if (broken_ != Broken::kSync) OnSync(event);
      break;
    case Kind::kCreated:
      files_[event.file] = {
          .id = event.id, .bytes = std::vector<std::byte>(event.file_bytes), .hash = {}};
      break;
    case Kind::kRecycled:
      if (broken_ == Broken::kRecycle) renames_.push_back({event.file, files_.at(event.file).id});
      files_.at(event.file).id = event.id;
      break;
    case Kind::kRemoved:
      files_.erase(event.file);
      std::erase_if(unsynced_, [&](size_t write) { return recording_[write].file == event.file; });
      std::erase_if(renames_, [&](const Rename& rename) { return rename.file == event.file; });
      break;
    case Kind::kCreate:
    case Kind::kRecycle:
    case Kind::kRemove:
      break;
  }
  ++point_;
}

bool DiskPast::IsPoint() const {
  if (point_ == recording_.size()) return true;
  return recording_[point_].kind != Kind::kContent || recording_[point_].first;
}

void DiskPast::OnSync(const Event& event) {
  File& file = files_.at(event.file);
  for (const size_t number : event.writes) {
    const Event& write = recording_[number];
    CHECK(write.offset + write.bytes.size() <= file.bytes.size());
    std::copy(write.bytes.begin(), write.bytes.end(),
              file.bytes.begin() + static_cast<ptrdiff_t>(write.offset));
    std::erase(unsynced_, number);
  }
  file.hash.reset();
}

// -------------------------------------------------------------------------------------------------
// What is found.

// Of a sector that several writes have touched, the version after the last that it was kept after.
void DiskPast::ShowWrites(const Choice& choice, Image& image,
                          std::map<uint32_t, std::vector<std::byte>*>& changed) const {
  std::map<uint32_t, std::vector<std::byte>> written;
  for (size_t i = 0; i < unsynced_.size(); ++i) {
    const Event& write = recording_[unsynced_[i]];
    const auto [at, is_new] = written.try_emplace(write.file);
    if (is_new) {
      at->second = files_.at(write.file).bytes;
      image.changed.push_back(at->second);
      changed[write.file] = &image.changed.back();
    }
    std::vector<std::byte>& cache = at->second;
    std::vector<std::byte>& kept = *changed.at(write.file);
    CHECK(write.offset + write.bytes.size() <= cache.size());
    std::memcpy(cache.data() + write.offset, write.bytes.data(), write.bytes.size());
    const uint64_t first = write.offset / kSector;
    for (uint64_t sector = 0; sector < SectorsOf(write); ++sector) {
      if (!IsThere(choice.parts[i], sector)) continue;
      const uint64_t begin = (first + sector) * kSector;
      const uint64_t bytes = std::min<uint64_t>(kSector, cache.size() - begin);
      std::memcpy(kept.data() + begin, cache.data() + begin, bytes);
    }
  }
}

Image DiskPast::Show(const Choice& choice) const {
  CHECK(choice.parts.size() == unsynced_.size());
  CHECK(choice.call < Outcomes());
  CHECK(choice.unnamed <= renames_.size());
  Image image;
  std::map<uint32_t, std::vector<std::byte>*> changed;
  ShowWrites(choice, image, changed);
  std::map<uint32_t, spool::SegmentId> names;
  for (const auto& [number, file] : files_) names[number] = file.id;
  for (uint32_t i = 0; i < choice.unnamed; ++i) {
    const Rename& rename = renames_[renames_.size() - 1 - i];
    names[rename.file] = rename.from;
  }
  const Event* const call = choice.call == 0 ? nullptr : &recording_[point_ - 1];
  if (call != nullptr && call->kind == Kind::kRecycle) names[call->file] = call->id;
  if (call != nullptr && call->kind == Kind::kRemove) names.erase(call->file);

  for (const auto& [number, id] : names) {
    const File& file = files_.at(number);
    const auto parts = changed.find(number);
    const std::vector<std::byte>& bytes = parts == changed.end() ? file.bytes : *parts->second;
    image.files.push_back({.id = id, .bytes = bytes});
    uint64_t hash;
    if (parts != changed.end()) {
      hash = XXH3_64bits(bytes.data(), bytes.size());
    } else {
      if (!file.hash) file.hash = XXH3_64bits(bytes.data(), bytes.size());
      hash = *file.hash;
    }
    image.hash ^= Mix(hash, id.value);
  }
  if (call != nullptr && call->kind == Kind::kCreate) {
    const uint64_t grown[kCreateOutcomes] = {0, 0, call->file_bytes / 2 / 4096 * 4096,
                                             call->file_bytes};
    image.changed.emplace_back(grown[choice.call]);
    image.files.push_back({.id = call->id, .bytes = image.changed.back()});
    image.hash ^= Mix(grown[choice.call], call->id.value);
  }
  return image;
}

}  // namespace sluice::crash
