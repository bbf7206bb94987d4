#include "engine/controls_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>
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

// A staged table without its first line.
absl::string_view TextOf(absl::string_view staged) {
  const size_t end = staged.find('\n');
  return end == absl::string_view::npos ? "" : staged.substr(end + 1);
}

}  // namespace

absl::StatusOr<std::string> ControlsStore::TextInUse() const {
  absl::StatusOr<std::string> text = ReadTextFile(file_.path);
  if (absl::IsNotFound(text.status()) && !file_.named) return "";
  if (text.ok()) return text;
  return absl::UnavailableError(absl::StrCat(file_.path, ": ", text.status().message()));
}

absl::StatusOr<ControlsStore::Entries> ControlsStore::Parsed(const std::string& path,
                                                             absl::string_view text) const {
  policy::ParsedControls parsed = policy::ParseControlsFile(text, {.profile = file_.profile});
  if (parsed.errors.empty()) return std::move(parsed.entries);
  return absl::InvalidArgumentError(
      absl::StrJoin(parsed.errors, "\n", [&](std::string* out, const policy::FileError& error) {
        absl::StrAppend(out, path, ":", error.line, ": ", error.text);
      }));
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

ControlsStore::Lock::~Lock() {
  close(descriptor_);
}

absl::StatusOr<std::unique_ptr<ControlsStore::Lock>> ControlsStore::LockOthersOut(
    bool waits) const {
  const std::string path = file_.path + ".lock";
  const auto failed = [&path] {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  };
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return failed();
  auto lock = std::make_unique<Lock>(descriptor);
  struct stat owner = {};  // To whom root leaves it.
  const bool ours = geteuid() != 0 || stat(file_.path.c_str(), &owner) != 0;
  if (!ours && fchown(descriptor, owner.st_uid, owner.st_gid) != 0) return failed();
  int locked = -1;
  do {
    locked = flock(descriptor, waits ? LOCK_EX : LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked == 0) return lock;
  return absl::UnavailableError("another command is changing the table: try again");
}

std::optional<std::string> ControlsStore::StagedText() const {
  absl::StatusOr<std::string> text = ReadTextFile(StagedPath());
  if (!text.ok()) return std::nullopt;
  return *std::move(text);
}

absl::Status ControlsStore::Restage(const std::optional<std::string>& text) {
  return text ? ReplaceFile(StagedPath(), *text, file_.path) : RemoveFile(StagedPath());
}

// What a commit has put in place is not staged any more, also where it could not be removed.
bool ControlsStore::staged() const {
  const std::optional<std::string> staged = StagedText();
  const absl::StatusOr<std::string> in_use = TextInUse();
  return staged && !(in_use.ok() && TextOf(*staged) == *in_use);
}

absl::Status ControlsStore::Stage(const Entries& entries) {
  const absl::StatusOr<std::string> in_use = TextInUse();
  if (!in_use.ok()) return in_use.status();
  std::string base = ChecksumOf(*in_use);
  if (staged()) {
    const std::string text = StagedText().value_or("");
    absl::string_view old = text;
    base = absl::ConsumePrefix(&old, kBaseMark) ? std::string(old.substr(0, base.size())) : "?";
  }
  const std::string text = policy::WriteControlsFile(entries);
  const absl::StatusOr<Entries> before = Parsed(file_.path, *in_use);
  if (before.ok() && policy::WriteControlsFile(*before) == text) return Abandon();
  return ReplaceFile(StagedPath(), absl::StrCat(kBaseMark, base, "\n", text), file_.path);
}

absl::Status ControlsStore::Abandon() {
  return RemoveFile(StagedPath());
}

absl::StatusOr<std::string> ControlsStore::TextToCommit() const {
  if (!staged()) return absl::FailedPreconditionError("nothing is staged");
  const absl::StatusOr<std::string> staged = ReadTextFile(StagedPath());
  if (!staged.ok()) return staged.status();
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
  const absl::Status placed = ReplaceFile(file_.path, *text);
  if (!placed.ok() && !absl::IsDataLoss(placed)) {
    unlink(VersionPath(*version).c_str());  // It replaced nothing.
    rmdir(HistoryFolder().c_str());         // Where it was the first.
    return placed;
  }
  unlink(StagedPath().c_str());  // If it stays, it is as what is in use, and so not staged.
  return *version;
}

absl::StatusOr<uint32_t> ControlsStore::KeepVersion(const std::string& text) {
  const std::vector<Version> versions = History();
  const uint32_t number = versions.empty() ? 1 : versions.front().number + 1;
  std::error_code error;
  if (absl::Status made = MakePrivateFolder(HistoryFolder(), file_.path); !made.ok()) return made;
  const absl::Status kept = ReplaceFile(VersionPath(number), text, file_.path);
  if (!kept.ok()) return kept;
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
