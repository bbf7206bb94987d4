// The list of suspended destinations on the disk: what the operator holds stays held over a restart
// and a crash. Each change is durable before it is told to the shards; what has passed is dropped
// at the next change, and counts for nothing until then.
//
// The control thread's alone.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/time.h"
#include "policy/suspensions.h"

namespace sluice {

// How it is named to people: "ALL", ".example.com", "example.com".
std::string SuspendedName(const policy::Suspension& suspension);

class SuspensionList {
 public:
  // Beyond, a suspension is refused: a list that nobody can read helps nobody.
  static constexpr size_t kSuspensionsMax = 10000;

  // A file that is not there is an empty list. One that cannot be read is an error that names it:
  // mail that was to be held must not go out by accident.
  static absl::StatusOr<SuspensionList> Load(const std::string& path);

  // Each replaces the one of the same domain. After an error nothing has changed; DataLoss: it has,
  // and a crash may undo it.
  absl::Status Suspend(std::vector<policy::Suspension> more, WallTime now);
  // By their keys, as they were suspended; all or none. Empty: all that there are. The same errors;
  // NotFound: one of them is not suspended.
  absl::Status Resume(const std::vector<std::string>& domains, WallTime now);

  // By name, ALL first.
  std::vector<policy::Suspension> Active(WallTime now) const;
  std::shared_ptr<const policy::Suspensions> ForShards(WallTime now) const;

 private:
  SuspensionList(std::string path, std::vector<policy::Suspension> all)
      : path_(std::move(path)), all_(std::move(all)) {}

  absl::Status Replace(std::vector<policy::Suspension> all);

  std::string path_;
  std::vector<policy::Suspension> all_;  // By domain, each once.
};

}  // namespace sluice
