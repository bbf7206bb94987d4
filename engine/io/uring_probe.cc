#include "engine/io/uring_probe.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace sluice::io {
namespace {

constexpr absl::string_view kKernelNeeded =
    "6.1";  // DEFER_TASKRUN; multishot receive came with 6.0.

struct Named {
  unsigned value;
  absl::string_view name;
};

constexpr Named kOperations[] = {
    {IORING_OP_ACCEPT, "accept"},   {IORING_OP_CONNECT, "connect"},
    {IORING_OP_RECV, "recv"},       {IORING_OP_SEND, "send"},
    {IORING_OP_SENDMSG, "sendmsg"}, {IORING_OP_READ, "read"},
    {IORING_OP_WRITE, "write"},     {IORING_OP_WRITEV, "writev"},
    {IORING_OP_FSYNC, "fsync"},     {IORING_OP_ASYNC_CANCEL, "async_cancel"},
};

constexpr Named kFeatures[] = {
    {IORING_FEAT_NODROP, "keeping completions that overflow"},
    {IORING_FEAT_SUBMIT_STABLE, "taking submissions whole"},
    {IORING_FEAT_FAST_POLL, "waiting for sockets without threads"},
    {IORING_FEAT_EXT_ARG, "a time-out with the wait"},
    {IORING_FEAT_CQE_SKIP, "leaving out completions"},
};

uint64_t LimitOf(__rlimit_resource resource) {
  rlimit limit{};
  getrlimit(resource, &limit);
  return limit.rlim_cur;
}

bool HasSeccompFilter() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (absl::StartsWith(line, "Seccomp:")) return absl::EndsWith(line, "2");
  }
  return false;
}

std::string KernelTooOld(const UringSurroundings& surroundings) {
  return absl::StrCat("the kernel is ", surroundings.kernel_release, ", and ", kKernelNeeded,
                      " or newer is needed");
}

std::string CauseOfPermission(const UringSurroundings& surroundings) {
  const int disabled = surroundings.io_uring_disabled.value_or(0);
  if (disabled == 2) {
    return "kernel.io_uring_disabled is 2: set it to 0 (sysctl kernel.io_uring_disabled=0)";
  }
  if (disabled == 1) {
    return "kernel.io_uring_disabled is 1: set it to 0, or run in the group that "
           "kernel.io_uring_group names";
  }
  if (surroundings.seccomp_filter) {
    return "a seccomp filter, probably of the container, forbids it: allow io_uring_setup, "
           "io_uring_enter and io_uring_register";
  }
  return "a security module (SELinux, AppArmor) forbids it, perhaps";
}

std::string CauseOfAbsence(const UringSurroundings& surroundings) {
  if (surroundings.seccomp_filter) {
    return "a seccomp filter, probably of the container, hides it: allow io_uring_setup, "
           "io_uring_enter and io_uring_register";
  }
  return absl::StrCat("the kernel (", surroundings.kernel_release, ") is built without io_uring");
}

std::string CauseOf(int error, const UringSurroundings& surroundings) {
  switch (error) {
    case EPERM:
    case EACCES:
      return CauseOfPermission(surroundings);
    case ENOSYS:
      return CauseOfAbsence(surroundings);
    case EINVAL:
      return KernelTooOld(surroundings);
    case ENOMEM:
      return absl::StrCat("memory, or the limit of locked memory (",
                          surroundings.locked_bytes_max / 1024,
                          " KiB), is used up: raise LimitMEMLOCK, or run fewer shards");
    case EMFILE:
      return absl::StrCat("the process has used its ", surroundings.descriptors_max,
                          " descriptors: raise LimitNOFILE");
    case ENFILE:
      return "the system has used all its descriptors: raise fs.file-max";
    default:
      return absl::StrCat("the cause is not one that we know (kernel ", surroundings.kernel_release,
                          ")");
  }
}

absl::Status Lacks(absl::string_view what, const UringSurroundings& surroundings) {
  return absl::FailedPreconditionError(
      absl::StrCat("io_uring here lacks ", what, ": ", KernelTooOld(surroundings)));
}

}  // namespace

UringSurroundings ReadUringSurroundings() {
  UringSurroundings surroundings;
  utsname name{};
  if (uname(&name) == 0) surroundings.kernel_release = name.release;
  std::ifstream sysctl("/proc/sys/kernel/io_uring_disabled");
  int disabled = 0;
  if (sysctl >> disabled) surroundings.io_uring_disabled = disabled;
  surroundings.seccomp_filter = HasSeccompFilter();
  surroundings.locked_bytes_max = LimitOf(RLIMIT_MEMLOCK);
  surroundings.descriptors_max = LimitOf(RLIMIT_NOFILE);
  return surroundings;
}

absl::Status UringRefused(absl::string_view call, int error,
                          const UringSurroundings& surroundings) {
  const char* name = strerrorname_np(error);
  return absl::FailedPreconditionError(absl::StrCat(
      "io_uring cannot be used: ", call, " says ",
      name != nullptr ? name : absl::StrCat(error).c_str(), "; ", CauseOf(error, surroundings)));
}

absl::Status CheckUringAbilities(io_uring& ring, const UringSurroundings& surroundings) {
  for (const Named& feature : kFeatures) {
    if ((ring.features & feature.value) == 0) return Lacks(feature.name, surroundings);
  }
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return Lacks("the list of its operations", surroundings);
  absl::Status status = absl::OkStatus();
  for (const Named& operation : kOperations) {
    if (!io_uring_opcode_supported(probe, static_cast<int>(operation.value))) {
      status = Lacks(absl::StrCat("the operation ", operation.name), surroundings);
      break;
    }
  }
  io_uring_free_probe(probe);
  return status;
}

}  // namespace sluice::io
