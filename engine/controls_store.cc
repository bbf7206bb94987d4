#include "engine/controls_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/durable_file.h"
#include "engine/text_file.h"
#include "policy/controls_file.h"
#include "policy/controls_writer.h"

namespace sluice {
namespace {

// A staged table's first line: the table that its edits began with.
constexpr absl::string_view kBaseMark = "# edited from ";

std::string ChecksumOf(absl::string_view text) {
  return absl::StrFormat("%016x", XXH3_64bits(text.data(), text.size()));
}

absl::StatusOr<ControlsStore::Entries> Parsed(const std::string& path, absl::string_view text) {
  policy::ParsedControls parsed = policy::ParseControlsFile(text);
  if (parsed.errors.empty()) return std::move(parsed.entries);
  return absl::InvalidArgumentError(
      absl::StrJoin(parsed.errors, "\n", [&](std::string* out, const policy::FileError& error) {
        absl::StrAppend(out, path, ":", error.line, ": ", error.text);
      }));
}

}  // namespace

absl::StatusOr<std::string> ControlsStore::TextInUse() const {
  absl::StatusOr<std::string> text = ReadTextFile(file_.path);
  if (absl::IsNotFound(text.status()) && !file_.named) return "";
  if (text.ok()) return text;
  return absl::UnavailableError(absl::StrCat(file_.path, ": ", text.status().message()));
}

absl::StatusOr<ControlsStore::Entries> ControlsStore::InUse() const {
  const absl::StatusOr<std::string> text = TextInUse();
  if (!text.ok()) return text.status();
  return Parsed(file_.path, *text);
}

absl::StatusOr<ControlsStore::Entries> ControlsStore::Working() const {
  const absl::StatusOr<std::string> text = ReadTextFile(StagedPath());
  if (absl::IsNotFound(text.status())) return InUse();
  if (!text.ok()) {
    return absl::UnavailableError(absl::StrCat(StagedPath(), ": ", text.status().message()));
  }
  return Parsed(StagedPath(), *text);
}

// The folder itself is locked: no file of its own is left behind.
ControlsStore::Lock::Lock(const std::string& folder)
    : descriptor_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  while (descriptor_ >= 0 && flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) continue;
}

ControlsStore::Lock::~Lock() {
  if (descriptor_ >= 0) close(descriptor_);
}

std::unique_ptr<ControlsStore::Lock> ControlsStore::LockOthersOut() const {
  const std::filesystem::path folder = std::filesystem::path(file_.path).parent_path();
  return std::make_unique<Lock>(folder.empty() ? "." : folder.string());
}

std::optional<std::string> ControlsStore::StagedText() const {
  absl::StatusOr<std::string> text = ReadTextFile(StagedPath());
  if (!text.ok()) return std::nullopt;
  return *std::move(text);
}

absl::Status ControlsStore::Restage(const std::optional<std::string>& text) {
  return text ? ReplaceFile(StagedPath(), *text) : RemoveFile(StagedPath());
}

bool ControlsStore::staged() const {
  struct stat status = {};
  return stat(StagedPath().c_str(), &status) == 0;
}

absl::Status ControlsStore::Stage(const Entries& entries) {
  const absl::StatusOr<std::string> in_use = TextInUse();
  if (!in_use.ok()) return in_use.status();
  std::string base = ChecksumOf(*in_use);
  if (const absl::StatusOr<std::string> staged = ReadTextFile(StagedPath()); staged.ok()) {
    absl::string_view old = *staged;
    base = absl::ConsumePrefix(&old, kBaseMark) ? std::string(old.substr(0, base.size())) : "?";
  }
  const std::string text = policy::WriteControlsFile(entries);
  const absl::StatusOr<Entries> before = Parsed(file_.path, *in_use);
  if (before.ok() && policy::WriteControlsFile(*before) == text) return Abandon();
  return ReplaceFile(StagedPath(), absl::StrCat(kBaseMark, base, "\n", text));
}

absl::Status ControlsStore::Abandon() {
  return RemoveFile(StagedPath());
}

absl::StatusOr<std::string> ControlsStore::TextToCommit() const {
  const absl::StatusOr<std::string> staged = ReadTextFile(StagedPath());
  if (!staged.ok()) return absl::FailedPreconditionError("nothing is staged");
  const absl::StatusOr<std::string> in_use = TextInUse();
  if (!in_use.ok()) return in_use.status();
  absl::string_view text = *staged;
  if (!absl::ConsumePrefix(&text, absl::StrCat(kBaseMark, ChecksumOf(*in_use), "\n"))) {
    return absl::FailedPreconditionError(
        absl::StrCat(file_.path,
                     " has changed since the edits began: look at diff, then abandon "
                     "them and edit anew"));
  }
  return std::string(text);
}

absl::StatusOr<uint32_t> ControlsStore::Commit() {
  const absl::StatusOr<std::string> text = TextToCommit();
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::string> in_use = TextInUse();
  if (!in_use.ok()) return in_use.status();
  const absl::StatusOr<uint32_t> version = KeepVersion(*in_use);
  if (!version.ok()) return version.status();
  if (absl::Status placed = ReplaceFile(file_.path, *text); !placed.ok()) {
    unlink(VersionPath(*version).c_str());  // It replaced nothing.
    rmdir(HistoryFolder().c_str());         // Where it was the first.
    return placed;
  }
  if (absl::Status removed = RemoveFile(StagedPath()); !removed.ok()) return removed;
  return *version;
}

absl::StatusOr<uint32_t> ControlsStore::KeepVersion(const std::string& text) {
  const std::vector<Version> versions = History();
  const uint32_t number = versions.empty() ? 1 : versions.front().number + 1;
  std::error_code error;
  std::filesystem::create_directories(HistoryFolder(), error);
  if (error) return absl::UnavailableError(absl::StrCat(HistoryFolder(), ": ", error.message()));
  if (absl::Status kept = ReplaceFile(VersionPath(number), text); !kept.ok()) return kept;
  for (size_t i = kVersionsMax - 1; i < versions.size(); ++i) {
    std::filesystem::remove(VersionPath(versions[i].number), error);  // It may stay: no harm.
  }
  return number;
}

std::vector<ControlsStore::Version> ControlsStore::History() const {
  std::vector<Version> versions;
  std::error_code error;
  std::filesystem::directory_iterator each(HistoryFolder(), error);
  for (; !error && each != std::filesystem::directory_iterator(); each.increment(error)) {
    Version version;
    struct stat status = {};
    const std::filesystem::path& path = each->path();
    const bool named =
        path.extension() == ".ini" && absl::SimpleAtoi(path.stem().string(), &version.number);
    if (!named || stat(path.c_str(), &status) != 0) continue;
    version.replaced = WallTime(std::chrono::seconds(status.st_mtim.tv_sec));
    versions.push_back(version);
  }
  std::sort(versions.begin(), versions.end(),
            [](const Version& a, const Version& b) { return a.number > b.number; });
  return versions;
}

absl::StatusOr<ControlsStore::Entries> ControlsStore::EntriesOf(uint32_t version) const {
  const absl::StatusOr<std::string> text = ReadTextFile(VersionPath(version));
  if (text.ok()) return Parsed(VersionPath(version), *text);
  return absl::NotFoundError(absl::StrCat("there is no version ", version, " in the history"));
}

std::string ControlsStore::VersionPath(uint32_t number) const {
  return absl::StrFormat("%s/%06d.ini", HistoryFolder(), number);
}

}  // namespace sluice
