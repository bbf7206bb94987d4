#include "engine/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"

namespace sluice {
namespace {

absl::Status Failure(int error) {
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(std::strerror(error));
  return absl::UnavailableError(std::strerror(error));
}

absl::Status ReadAll(int descriptor, std::string& text) {
  char piece[64 << 10];
  while (true) {
    const ssize_t bytes = read(descriptor, piece, sizeof(piece));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return Failure(errno);
    if (bytes == 0) return absl::OkStatus();
    if (text.size() + static_cast<size_t>(bytes) > kTextFileBytesMax) {
      return absl::OutOfRangeError("is larger than 512 MiB");
    }
    text.append(piece, static_cast<size_t>(bytes));
  }
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return Failure(errno);
  std::string text;
  struct stat file = {};
  if (fstat(descriptor, &file) == 0 && file.st_size > 0) {
    text.reserve(std::min(static_cast<size_t>(file.st_size), kTextFileBytesMax));
  }
  const absl::Status status = ReadAll(descriptor, text);
  close(descriptor);
  if (!status.ok()) return status;
  return text;
}

}  // namespace sluice
