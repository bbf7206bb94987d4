#include "engine/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr mode_t kNewMode = 0644;

absl::Status Failed(const std::string& path) {
  return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
}

bool WriteAll(int descriptor, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t bytes = write(descriptor, text.data(), text.size());
    if (bytes < 0 && errno != EINTR) return false;
    if (bytes > 0) text.remove_prefix(static_cast<size_t>(bytes));
  }
  return true;
}

absl::Status SyncFolderOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
  const absl::Status status = synced ? absl::OkStatus() : Failed(folder);
  if (descriptor >= 0) close(descriptor);
  return status;
}

// Where a link leads; the path itself where there is none.
std::string TargetOf(const std::string& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

// Only root may give files away; others at least to their group. Else it is ours.
void GiveTo(int descriptor, const struct stat& owner) {
  const bool given = fchown(descriptor, owner.st_uid, owner.st_gid) == 0 ||
                     fchown(descriptor, static_cast<uid_t>(-1), owner.st_gid) == 0;
  static_cast<void>(given);
}

// Written and synced, under its temporary name, which nobody can have prepared. `like`: whose mode
// and owner it gets; null: nobody's.
absl::Status WriteNew(const std::string& path, absl::string_view text, const struct stat* like) {
  unlink(path.c_str());
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int descriptor = open(path.c_str(), flags, 0600);
  if (descriptor < 0) return Failed(path);
  if (like != nullptr) GiveTo(descriptor, *like);
  const mode_t mode = like == nullptr ? kNewMode : like->st_mode & 07777;
  const bool whole =
      fchmod(descriptor, mode) == 0 && WriteAll(descriptor, text) && fsync(descriptor) == 0;
  const absl::Status status = whole ? absl::OkStatus() : Failed(path);
  close(descriptor);
  return status;
}

}  // namespace

absl::Status ReplaceFile(const std::string& named, absl::string_view text,
                         const std::string& like) {
  const std::string path = TargetOf(named);
  struct stat old = {};
  const bool there = stat(path.c_str(), &old) == 0 || stat(like.c_str(), &old) == 0;
  const std::string temporary = path + ".new";
  absl::Status status = WriteNew(temporary, text, there ? &old : nullptr);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = Failed(path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  const absl::Status synced = SyncFolderOf(path);
  return synced.ok() ? synced : absl::DataLossError(synced.message());
}

absl::Status MakePrivateFolder(const std::string& path, const std::string& like) {
  if (mkdir(path.c_str(), 0700) != 0) {
    return errno == EEXIST ? absl::OkStatus() : Failed(path);
  }
  struct stat owner = {};
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return Failed(path);
  if (stat(like.c_str(), &owner) == 0) GiveTo(descriptor, owner);
  close(descriptor);
  return SyncFolderOf(path);
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) != 0) return errno == ENOENT ? absl::OkStatus() : Failed(path);
  return SyncFolderOf(path);
}

}  // namespace sluice
