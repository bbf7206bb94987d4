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

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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

int64_t Nanoseconds(const struct timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

ControlsStore::Identity ControlsStore::IdentityOf(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return {};
  return {.there = true,
          .device = status.st_dev,
          .inode = status.st_ino,
          .bytes = status.st_size,
          .written_ns = Nanoseconds(status.st_mtim),
          .changed_ns = Nanoseconds(status.st_ctim)};
}

absl::StatusOr<std::string> ControlsStore::TextInUse() const {
  absl::StatusOr<std::string> text = ReadTextFile(file_.path);
  if (absl::IsNotFound(text.status()) && !file_.named) return "";
  if (text.ok()) return text;
  return absl::UnavailableError(absl::StrCat(file_.path, ": ", text.status().message()));
}

// `skipped` lines of the file stand before the text.
absl::StatusOr<ControlsStore::Table> ControlsStore::Parsed(const std::string& path,
                                                           absl::string_view text,
                                                           int skipped) const {
  policy::ParsedControls parsed = policy::ParseControlsFile(text, {.profile = file_.profile});
  if (parsed.errors.empty()) {
    return std::make_shared<const Entries>(std::move(parsed.entries));
  }
  return absl::InvalidArgumentError(
      absl::StrJoin(parsed.errors, "\n", [&](std::string* out, const policy::FileError& error) {
        absl::StrAppend(out, path, ":", error.line + skipped, ": ", error.text);
      }));
}

// The identity is taken first: what is written while the file is read shows at the next look. What
// could not be read is read again, since that says nothing of the file.
const ControlsStore::Known& ControlsStore::KnownInUse() const {
  const bool known = in_use_ && !in_use_->checksum.empty();
  if (!known || in_use_->identity != IdentityOf(file_.path)) in_use_ = ReadInUse();
  return *in_use_;
}

const ControlsStore::Known& ControlsStore::KnownStaged() const {
  const bool known = staged_ && !staged_->checksum.empty();
  if (!known || staged_->identity != IdentityOf(StagedPath())) staged_ = ReadStaged();
  return *staged_;
}

ControlsStore::Known ControlsStore::ReadInUse() const {
  Known known;
  known.identity = IdentityOf(file_.path);
  const absl::StatusOr<std::string> text = TextInUse();
  if (!text.ok()) {
    known.table = text.status();
    return known;
  }
  known.table = Parsed(file_.path, *text);
  known.checksum = ChecksumOf(*text);
  return known;
}

// Its first line names its base; an editor may have taken that away.
ControlsStore::Known ControlsStore::ReadStaged() const {
  Known known;
  known.identity = IdentityOf(StagedPath());
  known.base = "?";
  const absl::StatusOr<std::string> staged = ReadTextFile(StagedPath());
  if (!staged.ok()) {
    known.table = staged.status();
    return known;
  }
  absl::string_view text = *staged;
  const bool marked = absl::StartsWith(text, kBaseMark);
  const absl::string_view mark = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), mark.size() + 1));
  if (marked) known.base = std::string(mark.substr(kBaseMark.size()));
  known.table = marked ? Parsed(StagedPath(), text, 1) : Parsed(StagedPath(), *staged);
  known.checksum = ChecksumOf(text);
  return known;
}

absl::StatusOr<ControlsStore::Table> ControlsStore::InUse() const {
  return KnownInUse().table;
}

absl::StatusOr<ControlsStore::Table> ControlsStore::Working() const {
  const absl::StatusOr<Table>& staged = KnownStaged().table;
  if (absl::IsNotFound(staged.status())) return InUse();
  if (staged.ok() || absl::IsInvalidArgument(staged.status())) return staged;
  return absl::UnavailableError(absl::StrCat(StagedPath(), ": ", staged.status().message()));
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
  const Known& staged = KnownStaged();
  if (staged.checksum.empty()) return false;
  return staged.checksum != KnownInUse().checksum;
}

// The export form of a table by hand is made but once, and that of an export is its text.
std::string ControlsStore::ExportedInUse() const {
  const Known& in_use = KnownInUse();
  if (in_use.table.ok() && in_use.exported.empty()) {
    in_use_->exported = ChecksumOf(policy::WriteControlsFile(**in_use.table));
  }
  return in_use.exported;
}

absl::Status ControlsStore::Stage(Entries entries) {
  const Known& in_use = KnownInUse();
  if (in_use.checksum.empty()) return in_use.table.status();
  const std::string base = staged() ? KnownStaged().base : in_use.checksum;
  const std::string text = policy::RewriteControlsFile(entries);
  const std::string checksum = ChecksumOf(text);
  if (ExportedInUse() == checksum) return Abandon();
  const absl::Status placed =
      ReplaceFile(StagedPath(), absl::StrCat(kBaseMark, base, "\n", text), file_.path);
  if (!placed.ok()) return placed;
  staged_ = Known{.identity = IdentityOf(StagedPath()),
                  .table = std::make_shared<const Entries>(std::move(entries)),
                  .checksum = checksum,
                  .base = base,
                  .exported = checksum};
  return absl::OkStatus();
}

absl::Status ControlsStore::Abandon() {
  return RemoveFile(StagedPath());
}

absl::StatusOr<std::string> ControlsStore::TextToCommit() const {
  if (!staged()) return absl::FailedPreconditionError("nothing is staged");
  absl::StatusOr<std::string> staged = ReadTextFile(StagedPath());
  if (!staged.ok()) return staged.status();
  const Known& in_use = KnownInUse();
  if (in_use.checksum.empty()) return in_use.table.status();
  const std::string mark = absl::StrCat(kBaseMark, in_use.checksum, "\n");
  if (!absl::StartsWith(*staged, mark)) {
    return absl::FailedPreconditionError(
        absl::StrCat(file_.path,
                     " has changed since the edits began: look at diff, then abandon "
                     "them and edit anew"));
  }
  staged->erase(0, mark.size());
  return staged;
}

absl::StatusOr<uint32_t> ControlsStore::Commit() {
  const absl::StatusOr<std::string> text = TextToCommit();
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::string> in_use = TextInUse();
  if (!in_use.ok()) return in_use.status();
  if (ChecksumOf(*in_use) != KnownInUse().checksum) {  // Written within a tick of the file's clock.
    return absl::FailedPreconditionError(
        absl::StrCat(file_.path, " has just been written by somebody else: look again"));
  }
  Known committed = KnownStaged();
  const absl::StatusOr<uint32_t> version = KeepVersion(*in_use);
  if (!version.ok()) return version.status();
  const absl::Status placed = ReplaceFile(file_.path, *text);
  if (!placed.ok() && !absl::IsDataLoss(placed)) {
    unlink(VersionPath(*version).c_str());  // It replaced nothing.
    rmdir(HistoryFolder().c_str());         // Where it was the first.
    return placed;
  }
  committed.identity = IdentityOf(file_.path);
  if (ChecksumOf(*text) == committed.checksum) in_use_ = std::move(committed);
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

absl::StatusOr<ControlsStore::Table> ControlsStore::EntriesOf(uint32_t version) const {
  const absl::StatusOr<std::string> text = ReadTextFile(VersionPath(version));
  if (text.ok()) return Parsed(VersionPath(version), *text);
  return absl::NotFoundError(absl::StrCat("there is no version ", version, " in the history"));
}

std::string ControlsStore::VersionPath(uint32_t number) const {
  return absl::StrFormat("%s/%06d.ini", HistoryFolder(), number);
}

}  // namespace sluice
