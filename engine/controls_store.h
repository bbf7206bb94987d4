// The table of destination controls on the disk: the file that is in use, what has been staged to
// replace it, and what was replaced before.
//
//   destinations.ini                      in use
//   destinations.ini.staged               edited, and not committed yet
//   destinations.ini.history/000007.ini   what commit 7 replaced, as it was
//   destinations.ini.lock                 held by whoever is changing something
//
// Edits are staged until they are committed or abandoned, whoever made them, and outlive a restart.
// A commit writes the export form: the comments of a file written by hand are in its history.
//
// What has been read is kept, as long as its file is the same one and nobody has written to it: a
// command on a table of a million entries does not read them again. A writer that leaves length and
// times as they were is not noticed.
//
// Blocking; on the control thread, or in a program of its own where no engine runs.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/time.h"
#include "engine/config.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"

namespace sluice {

class ControlsStore {
 public:
  static constexpr size_t kVersionsMax = 100;  // The oldest are removed.

  using Entries = std::vector<policy::ControlsEntry>;
  // Shared with the store, which may keep it.
  using Table = std::shared_ptr<const Entries>;

  struct Version {
    uint32_t number = 0;
    WallTime replaced{};
  };

  explicit ControlsStore(DestinationsFile file) : file_(std::move(file)) {}

  // Errors are lines, "file:line: text".
  absl::StatusOr<Table> InUse() const;
  // What has been staged, else what is in use. Lines are those that a commit will give them.
  absl::StatusOr<Table> Working() const;
  bool staged() const;

  // Held while a command changes something, so that no two do at once.
  class Lock {
   public:
    explicit Lock(int descriptor) : descriptor_(descriptor) {}
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_;
  };
  // By a file of its own, which only the table's owner may open. Waits for who has it, or not:
  // Unavailable.
  absl::StatusOr<std::unique_ptr<Lock>> LockOthersOut(bool waits) const;

  // What has been staged, as it stands; for Restage, which puts it back.
  std::optional<std::string> StagedText() const;
  absl::Status Restage(const std::optional<std::string>& text);

  // What is as it is in use is not staged.
  absl::Status Stage(Entries entries);
  absl::Status Abandon();

  // The text that a commit would write. FailedPrecondition: nothing is staged, or the file in use
  // is not the one that the edits began with.
  absl::StatusOr<std::string> TextToCommit() const;
  // Puts it in place; durable when this returns. The number of the version that it replaced.
  absl::StatusOr<uint32_t> Commit();

  // Newest first.
  std::vector<Version> History() const;
  absl::StatusOr<Table> EntriesOf(uint32_t version) const;

  const std::string& path() const { return file_.path; }
  policy::ControlsProfile profile() const { return file_.profile; }

 private:
  // A file is the same while all of these are.
  struct Identity {
    bool there = false;
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t bytes = 0;
    int64_t written_ns = 0;
    int64_t changed_ns = 0;

    bool operator==(const Identity&) const = default;
  };

  // A file that has been read, or could not be.
  struct Known {
    Identity identity;
    absl::StatusOr<Table> table;
    std::string checksum;  // Of the table's text. Empty: it could not be read.
    std::string base;      // Of what is staged: the checksum of what its edits began with.
    std::string exported;  // Checksum of the export form; empty: not asked for yet.
  };

  static Identity IdentityOf(const std::string& path);
  const Known& KnownInUse() const;
  const Known& KnownStaged() const;
  Known ReadInUse() const;
  Known ReadStaged() const;
  std::string ExportedInUse() const;
  std::string StagedPath() const { return file_.path + ".staged"; }
  std::string HistoryFolder() const { return file_.path + ".history"; }
  std::string VersionPath(uint32_t number) const;
  absl::StatusOr<std::string> TextInUse() const;
  absl::StatusOr<Table> Parsed(const std::string& path, absl::string_view text,
                               int skipped = 0) const;
  absl::StatusOr<uint32_t> KeepVersion(const std::string& text);

  const DestinationsFile file_;
  mutable std::optional<Known> in_use_;
  mutable std::optional<Known> staged_;
};

}  // namespace sluice
