#include "engine/spool/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice::spool {
namespace {

constexpr mode_t kFolderMode = 0700;  // Mail is nobody else's to read.
constexpr mode_t kFileMode = 0600;

absl::string_view Advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return ": make room on this file system, or move [spool] path to a larger one";
    case EACCES:
    case EPERM:
      return ": the engine's user must own the spool folder and all in it";
    case EROFS:
      return ": the file system is mounted read-only; if it became so by itself, see dmesg";
    case EIO:
      return ": the disk fails; see dmesg, and copy the spool away before anything else";
    case EMFILE:
    case ENFILE:
      return ": raise the limit of open files (LimitNOFILE, ulimit -n)";
    default:
      return "";
  }
}

absl::Status Failure(int error, absl::string_view call, absl::string_view path) {
  const absl::Status named = absl::ErrnoToStatus(error, absl::StrCat(call, " ", path));
  const bool full = error == ENOSPC || error == EDQUOT;
  return absl::Status(full ? absl::StatusCode::kResourceExhausted : named.code(),
                      absl::StrCat("spool: ", named.message(), Advice(error)));
}

int OpenRetrying(const std::string& path, int flags, mode_t mode = 0) {
  int descriptor;
  do {
    descriptor = open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SyncFolder(const std::string& folder) {
  const int descriptor = OpenRetrying(folder, O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return Failure(errno, "open folder", folder);
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  return error == 0 ? absl::OkStatus() : Failure(error, "fsync of folder", folder);
}

// mkdir -p; every new folder's name is durable.
absl::Status MakeFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), kFolderMode) == 0) return SyncFolder(ParentOf(folder));
  if (errno == ENOENT && ParentOf(folder) != folder) {
    if (absl::Status made = MakeFolder(ParentOf(folder)); !made.ok()) return made;
    if (mkdir(folder.c_str(), kFolderMode) == 0) return SyncFolder(ParentOf(folder));
  }
  if (errno != EEXIST) return Failure(errno, "mkdir", folder);
  struct stat status;
  if (stat(folder.c_str(), &status) != 0) return Failure(errno, "stat", folder);
  if (!S_ISDIR(status.st_mode)) return Failure(ENOTDIR, "mkdir", folder);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& folder) {
  DIR* stream = opendir(folder.c_str());
  if (stream == nullptr) return Failure(errno, "open folder", folder);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream)) names.emplace_back(entry->d_name);
  const int error = errno;
  closedir(stream);
  if (error != 0) return Failure(error, "read folder", folder);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<uint16_t> LogOfFolder(absl::string_view name) {
  uint32_t log = 0;
  if (!absl::ConsumePrefix(&name, "shard-") || name.size() < 3) return std::nullopt;
  if (!absl::SimpleAtoi(name, &log) || log > UINT16_MAX) return std::nullopt;
  if (absl::StrFormat("%03u", log) != name) return std::nullopt;
  return static_cast<uint16_t>(log);
}

std::optional<uint64_t> SequenceOfFile(absl::string_view name) {
  uint64_t sequence = 0;
  if (!absl::ConsumeSuffix(&name, ".log") || name.size() != 16) return std::nullopt;
  if (!absl::SimpleHexAtoi(name, &sequence) || sequence >> 48 != 0) return std::nullopt;
  if (absl::StrFormat("%016x", sequence) != name) return std::nullopt;
  return sequence;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PosixDisk>> PosixDisk::Open(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("spool: [spool] path is empty");
  std::string folder = path;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  if (absl::Status made = MakeFolder(folder); !made.ok()) return made;
  std::unique_ptr<PosixDisk> disk(new PosixDisk(folder));  // The constructor is private.
  if (absl::Status locked = disk->TakeLock(); !locked.ok()) return locked;
  return disk;
}

absl::StatusOr<std::unique_ptr<PosixDisk>> PosixDisk::OpenToRead(const std::string& path) {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(path);
  if (!names.ok()) return names.status();
  std::unique_ptr<PosixDisk> disk(new PosixDisk(path));  // The constructor is private.
  disk->reads_only_ = true;
  return disk;
}

PosixDisk::~PosixDisk() {
  for (const int descriptor : descriptors_) close(descriptor);
  if (lock_ >= 0) close(lock_);
}

// The kernel gives the lock back when the process ends, however it ends. The number in the file is
// only for the message.
absl::Status PosixDisk::TakeLock() {
  const std::string path = path_ + "/lock";
  lock_ = OpenRetrying(path, O_RDWR | O_CREAT, kFileMode);
  if (lock_ < 0) return Failure(errno, "open", path);
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failure(errno, "flock", path);
    char holder[24] = {};
    const ssize_t read = pread(lock_, holder, sizeof(holder) - 1, 0);
    absl::string_view pid(holder, static_cast<size_t>(std::max<ssize_t>(read, 0)));
    pid = absl::StripSuffix(pid, "\n");
    return absl::UnavailableError(absl::StrCat("spool: another engine runs on ", path_,
                                               pid.empty() ? "" : " (process ", pid,
                                               pid.empty() ? "" : ")", ", it holds ", path,
                                               ": stop it, or give this one another [spool] path"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock_, 0) != 0) return Failure(errno, "ftruncate", path);
  if (pwrite(lock_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return Failure(errno, "write", path);
  }
  return absl::OkStatus();
}

// By the kernel's list of locks: taking it, even for a moment, would keep an engine from starting.
// `number: FLOCK ADVISORY WRITE pid major:minor:inode start end`; the device of a file may be told
// otherwise there than by stat, and then the process's number in the file decides.
std::optional<int> PosixDisk::HolderOf(const std::string& path) {
  const std::string lock = path + "/lock";
  struct stat status;
  if (stat(lock.c_str(), &status) != 0) return std::nullopt;
  int named = 0;
  if (std::FILE* file = std::fopen(lock.c_str(), "re")) {
    if (std::fscanf(file, "%d", &named) != 1) named = 0;
    std::fclose(file);
  }
  std::FILE* locks = std::fopen("/proc/locks", "re");
  if (locks == nullptr) return std::nullopt;
  std::optional<int> holder;
  char line[256];
  while (!holder && std::fgets(line, sizeof(line), locks) != nullptr) {
    int pid = 0;
    unsigned major = 0;
    unsigned minor = 0;
    unsigned long long inode = 0;
    const int read =
        std::sscanf(line, "%*d: FLOCK %*s WRITE %d %x:%x:%llu", &pid, &major, &minor, &inode);
    if (read == 4 && inode == status.st_ino && pid == named) holder = pid;
  }
  std::fclose(locks);
  return holder;
}

std::string PosixDisk::NameOf(SegmentId id) {
  return absl::StrFormat("shard-%03u/%016x.log", id.log(), id.sequence());
}

std::string PosixDisk::FolderOf(SegmentId id) const {
  return absl::StrFormat("%s/shard-%03u", path_, id.log());
}

std::string PosixDisk::PathOf(SegmentId id) const {
  return absl::StrCat(path_, "/", NameOf(id));
}

absl::StatusOr<std::vector<OpenSegment>> PosixDisk::OpenAll() {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(path_);
  if (!names.ok()) return names.status();
  std::vector<OpenSegment> found;
  for (const std::string& name : *names) {
    const std::optional<uint16_t> log = LogOfFolder(name);
    if (!log) continue;
    if (absl::Status opened = OpenFolder(path_ + "/" + name, *log, found); !opened.ok()) {
      return opened;
    }
  }
  std::sort(found.begin(), found.end(),
            [](const OpenSegment& a, const OpenSegment& b) { return a.id < b.id; });
  return found;
}

absl::Status PosixDisk::OpenFolder(const std::string& folder, uint16_t log,
                                   std::vector<OpenSegment>& found) {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(folder);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::optional<uint64_t> sequence = SequenceOfFile(name);
    if (!sequence) continue;
    const std::string path = folder + "/" + name;
    const int descriptor = OpenRetrying(path, (reads_only_ ? O_RDONLY : O_RDWR) | O_NOFOLLOW);
    if (descriptor < 0 && errno == ENOENT && reads_only_) continue;
    if (descriptor < 0) return Failure(errno, "open", path);
    Keep(descriptor);
    struct stat status;
    if (fstat(descriptor, &status) != 0) return Failure(errno, "fstat", path);
    if (!S_ISREG(status.st_mode)) return Failure(EINVAL, "not a file:", path);
    // A process that was killed leaves writes in the cache, which is what recovery will read.
    if (!reads_only_ && fdatasync(descriptor) != 0) return Failure(errno, "fdatasync", path);
    found.push_back({.id = SegmentId::Of(log, *sequence),
                     .descriptor = descriptor,
                     .bytes = static_cast<uint64_t>(status.st_size),
                     .set_aside = status.st_nlink > 1});
  }
  return reads_only_ ? absl::OkStatus() : SyncFolder(folder);
}

absl::StatusOr<OpenSegment> PosixDisk::Create(SegmentId id, uint64_t bytes) {
  CHECK(!reads_only_);
  if (absl::Status made = MakeFolder(FolderOf(id)); !made.ok()) return made;
  const std::string path = PathOf(id);
  const int descriptor = OpenRetrying(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, kFileMode);
  if (descriptor < 0) return Failure(errno, "create", path);
  absl::Status allocated = Allocate(descriptor, path, bytes);
  if (allocated.ok()) allocated = SyncFolder(FolderOf(id));
  if (!allocated.ok()) {
    close(descriptor);
    unlink(path.c_str());  // What fails here is found empty by the next start.
    return allocated;
  }
  Keep(descriptor);
  return OpenSegment{.id = id, .descriptor = descriptor, .bytes = bytes};
}

// glibc writes zeros where the file system cannot allocate.
absl::Status PosixDisk::Allocate(int descriptor, const std::string& path, uint64_t bytes) {
  int error;
  do {
    error = posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  } while (error == EINTR);
  if (error != 0) return Failure(error, "allocate", path);
  if (fsync(descriptor) != 0) return Failure(errno, "fsync", path);
  return absl::OkStatus();
}

absl::StatusOr<OpenSegment> PosixDisk::Recycle(const OpenSegment& dead, SegmentId id) {
  CHECK(!reads_only_);
  const std::string from = PathOf(dead.id);
  const std::string to = PathOf(id);
  if (absl::Status made = MakeFolder(FolderOf(id)); !made.ok()) return made;
  if (access(to.c_str(), F_OK) == 0) return Failure(EEXIST, "rename to", to);
  if (rename(from.c_str(), to.c_str()) != 0) return Failure(errno, "rename", from);
  if (absl::Status synced = SyncFolder(FolderOf(id)); !synced.ok()) return synced;
  if (FolderOf(dead.id) != FolderOf(id)) {
    if (absl::Status synced = SyncFolder(FolderOf(dead.id)); !synced.ok()) return synced;
  }
  return OpenSegment{.id = id, .descriptor = dead.descriptor, .bytes = dead.bytes};
}

absl::Status PosixDisk::Remove(const OpenSegment& dead) {
  CHECK(!reads_only_);
  const std::string path = PathOf(dead.id);
  if (unlink(path.c_str()) != 0) return Failure(errno, "unlink", path);
  {
    const std::lock_guard lock(mutex_);
    const auto known = std::find(descriptors_.begin(), descriptors_.end(), dead.descriptor);
    CHECK(known != descriptors_.end());
    descriptors_.erase(known);
  }
  close(dead.descriptor);
  return SyncFolder(FolderOf(dead.id));
}

absl::StatusOr<std::string> PosixDisk::SetAside(const OpenSegment& segment) {
  CHECK(!reads_only_);
  const std::string folder = path_ + "/set-aside";
  if (absl::Status made = MakeFolder(folder); !made.ok()) return made;
  const std::string name =
      absl::StrFormat("%s/shard-%03u-%016x.log", folder, segment.id.log(), segment.id.sequence());
  if (link(PathOf(segment.id).c_str(), name.c_str()) != 0 && errno != EEXIST) {
    return Failure(errno, "link", name);
  }
  if (absl::Status synced = SyncFolder(folder); !synced.ok()) return synced;
  return name;
}

// A file system that does not answer is not the one that stops mail: making a segment will tell.
uint64_t PosixDisk::FreeBytes() {
  struct statvfs status;
  if (statvfs(path_.c_str(), &status) != 0) return UINT64_MAX;
  return uint64_t{status.f_bavail} * status.f_frsize;
}

uint64_t PosixDisk::TotalBytes(const std::string& path) {
  struct statvfs status;
  if (statvfs(path.c_str(), &status) != 0) return 0;
  return uint64_t{status.f_blocks} * status.f_frsize;
}

bool PosixDisk::StillHolds(const OpenSegment& segment) const {
  struct stat opened;
  struct stat named;
  return fstat(segment.descriptor, &opened) == 0 && stat(PathOf(segment.id).c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

void PosixDisk::Keep(int descriptor) {
  const std::lock_guard lock(mutex_);
  descriptors_.push_back(descriptor);
}

absl::StatusOr<size_t> PosixDisk::ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                         uint64_t offset) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t read = pread(segment.descriptor, into.data() + done, into.size() - done,
                               static_cast<off_t>(offset + done));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return Failure(errno, "read", PathOf(segment.id));
    if (read == 0) break;
    done += static_cast<size_t>(read);
  }
  return done;
}

}  // namespace sluice::spool
