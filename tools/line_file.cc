#include "tools/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::tools {

LineFile::~LineFile() {
  if (open()) close(descriptor_);
}

absl::Status LineFile::Open(const std::string& path) {
  CHECK(!open());
  if (path.empty()) return absl::OkStatus();
  path_ = path;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (open()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, ": cannot be opened: ", strerror(errno)));
}

absl::Status LineFile::Flush() {
  absl::string_view rest = pending_;
  while (failure_.ok() && !rest.empty()) {
    const ssize_t written = write(descriptor_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      failure_ = absl::DataLossError(absl::StrCat(path_, ": cannot be written: ", strerror(errno)));
    }
  }
  pending_.clear();
  return failure_;
}

absl::Status WriteFile(const std::string& path, absl::string_view contents) {
  LineFile file;
  absl::Status status = file.Open(path);
  if (!status.ok()) return status;
  file.Append(contents);
  return file.Flush();
}

}  // namespace sluice::tools
