// The blocking calls of the spool's folder, the delivery log and the threads, with faults. The
// linker puts these in the place of the C library's (--wrap): only this program's own calls come
// here.
//
// What is not below the spool's folder, and is not the delivery log, passes through.

#include <dirent.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "absl/strings/match.h"
#include "tests/faults/fault_plan.h"
#include "tests/faults/system_calls.h"
#include "tests/faults/unsynced.h"

namespace sluice::faults {
namespace {

enum class Kind : uint8_t { kOther, kSpoolFile, kSpoolFolder, kDeliveryLog };

struct Opened {
  Kind kind = Kind::kOther;
  std::string path;
};

struct Watched {
  std::mutex mutex;
  std::string spool;
  std::string delivery_log;
  std::map<int, Opened> opened;
};

Watched& Watch() {
  static Watched watched;
  return watched;
}

Kind KindOf(const std::string& path, int flags) {
  Watched& watched = Watch();
  if (path == watched.delivery_log) return Kind::kDeliveryLog;
  const bool spool = path == watched.spool || absl::StartsWith(path, watched.spool + "/");
  if (watched.spool.empty() || !spool) return Kind::kOther;
  return (flags & O_DIRECTORY) != 0 ? Kind::kSpoolFolder : Kind::kSpoolFile;
}

bool InSpool(const std::string& path) {
  return KindOf(path, 0) == Kind::kSpoolFile;
}

Opened OpenedAs(int descriptor) {
  const std::lock_guard lock(Watch().mutex);
  const auto found = Watch().opened.find(descriptor);
  return found == Watch().opened.end() ? Opened{} : found->second;
}

FaultPlan& Plan() {
  return FaultPlan::OfProcess();
}

// True: the call is not to be done, and errno says why.
bool Fails(Call call) {
  const Fate fate = Plan().Next(call);
  if (fate.hit) errno = fate.error;
  return fate.hit;
}

}  // namespace

void WatchFiles(const std::string& spool, const std::string& delivery_log) {
  Watch().spool = spool;
  Watch().delivery_log = delivery_log;
}

}  // namespace sluice::faults

using namespace sluice::faults;  // The functions below are C's.

extern "C" {

int __real_open64(const char* path, int flags, mode_t mode);
int __real_fsync(int descriptor);
int __real_fdatasync(int descriptor);
int __real_mkdir(const char* path, mode_t mode);
int __real_rename(const char* from, const char* to);
int __real_posix_fallocate64(int descriptor, off64_t offset, off64_t bytes);
ssize_t __real_pread64(int descriptor, void* into, size_t bytes, off64_t offset);
ssize_t __real_write(int descriptor, const void* from, size_t bytes);
DIR* __real_opendir(const char* path);
int __real_unlink(const char* path);

int __wrap_open64(const char* path, int flags, mode_t mode) {
  const Kind kind = KindOf(path, flags);
  if (kind == Kind::kOther) return __real_open64(path, flags, mode);
  const bool creates = kind == Kind::kSpoolFile && (flags & O_EXCL) != 0;
  if (creates) Plan().Point();
  if (Fails(kind == Kind::kDeliveryLog ? Call::kDeliveryLogOpen : Call::kOpen)) return -1;
  const int descriptor = __real_open64(path, flags, mode);
  if (descriptor < 0) return descriptor;
  {
    const std::lock_guard lock(Watch().mutex);
    Watch().opened[descriptor] = {kind, path};
  }
  if (kind == Kind::kSpoolFile) Unsynced::OfProcess().Synced(descriptor);  // A number used anew.
  if (creates) {
    Unsynced::OfProcess().Created(path);
    Plan().Point();
  }
  return descriptor;
}

int __wrap_fsync(int descriptor) {
  const Opened opened = OpenedAs(descriptor);
  if (opened.kind != Kind::kSpoolFile && opened.kind != Kind::kSpoolFolder) {
    return __real_fsync(descriptor);
  }
  const bool folder = opened.kind == Kind::kSpoolFolder;
  Plan().Point();
  if (Fails(folder ? Call::kSyncFolder : Call::kSyncFile)) return -1;
  const int result = __real_fsync(descriptor);
  if (folder && result == 0) Unsynced::OfProcess().FolderSynced(opened.path);
  Plan().Point();
  return result;
}

int __wrap_fdatasync(int descriptor) {
  if (OpenedAs(descriptor).kind != Kind::kSpoolFile) return __real_fdatasync(descriptor);
  if (Fails(Call::kSyncFile)) return -1;
  return __real_fdatasync(descriptor);
}

int __wrap_mkdir(const char* path, mode_t mode) {
  if (KindOf(path, O_DIRECTORY) == Kind::kOther) return __real_mkdir(path, mode);
  Plan().Point();
  if (Fails(Call::kMakeFolder)) return -1;
  return __real_mkdir(path, mode);
}

int __wrap_rename(const char* from, const char* to) {
  if (!InSpool(from)) return __real_rename(from, to);
  Plan().Point();
  if (Fails(Call::kRename)) return -1;
  const int result = __real_rename(from, to);
  if (result == 0) Unsynced::OfProcess().Renamed(from, to);
  Plan().Point();
  return result;
}

int __wrap_posix_fallocate64(int descriptor, off64_t offset, off64_t bytes) {
  if (OpenedAs(descriptor).kind != Kind::kSpoolFile) {
    return __real_posix_fallocate64(descriptor, offset, bytes);
  }
  const Fate fate = Plan().Next(Call::kAllocate);
  if (fate.hit) return fate.error;
  const int result = __real_posix_fallocate64(descriptor, offset, bytes);
  Plan().Point();
  return result;
}

ssize_t __wrap_pread64(int descriptor, void* into, size_t bytes, off64_t offset) {
  if (OpenedAs(descriptor).kind != Kind::kSpoolFile) {
    return __real_pread64(descriptor, into, bytes, offset);
  }
  const Fate fate = Plan().Next(Call::kReadSegment);
  if (fate.hit && fate.done == Done::kPart) bytes = (bytes + 1) / 2;
  if (fate.hit && fate.error != 0) {
    errno = fate.error;
    return -1;
  }
  return __real_pread64(descriptor, into, bytes, offset);
}

ssize_t __wrap_write(int descriptor, const void* from, size_t bytes) {
  if (OpenedAs(descriptor).kind != Kind::kDeliveryLog) {
    return __real_write(descriptor, from, bytes);
  }
  const Fate fate = Plan().Next(Call::kDeliveryLogWrite);
  if (fate.hit && fate.done == Done::kPart) bytes = (bytes + 1) / 2;
  if (fate.hit && fate.error != 0) {
    errno = fate.error;
    return -1;
  }
  return __real_write(descriptor, from, bytes);
}

DIR* __wrap_opendir(const char* path) {
  if (KindOf(path, O_DIRECTORY) != Kind::kOther && Fails(Call::kReadFolder)) return nullptr;
  return __real_opendir(path);
}

// What is removed stays under another name until its folder is synced: a power cut brings it back.
int __wrap_unlink(const char* path) {
  if (!InSpool(path)) return __real_unlink(path);
  Plan().Point();
  if (Fails(Call::kRemove)) return -1;
  const std::string kept = std::string(path) + ".removed";
  const int result = __real_rename(path, kept.c_str());
  if (result == 0) Unsynced::OfProcess().Removed(path, kept);
  Plan().Point();
  return result;
}

// std::thread's start, in the library.
using ThreadState = std::unique_ptr<std::thread::_State>;
void __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    std::thread* thread, ThreadState state, void (*depend)());
void __wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    std::thread* thread, ThreadState state, void (*depend)()) {
  const Fate fate = Plan().Next(Call::kThread);
  if (fate.hit) throw std::system_error(fate.error, std::generic_category());
  __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
      thread, std::move(state), depend);
}

}  // extern "C"
