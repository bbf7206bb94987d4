// Replacing a small file so that after a crash there is the old one or the new one, whole.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

// By a temporary file beside it, synced, renamed, and the folder synced. It keeps its mode and, as
// far as we may, its owner; a new file has those of `like`, where there is that, else 0644. Where
// `path` is a link, what it leads to is replaced. Blocking: never on a shard. The error names the
// path and what the system says. DataLoss: it has been replaced, and a crash may undo it.
absl::Status ReplaceFile(const std::string& path, absl::string_view text,
                         const std::string& like = "");

// A folder that is there when this returns, with the owner of the file `like`; only they may read.
absl::Status MakePrivateFolder(const std::string& path, const std::string& like);

// Removes it durably; one that is not there is no error.
absl::Status RemoveFile(const std::string& path);

}  // namespace sluice
