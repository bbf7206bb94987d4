#include "tools/process.h"

#include <signal.h>
#include <sys/resource.h>

#include "engine/base/check.h"

namespace sluice::tools {
namespace {

volatile sig_atomic_t stop_wanted = 0;

void OnStopSignal(int) {
  stop_wanted = 1;
}

Duration FromTimeval(const timeval& value) {
  return std::chrono::seconds(value.tv_sec) + std::chrono::microseconds(value.tv_usec);
}

}  // namespace

void WatchStopSignals() {
  struct sigaction action {};
  action.sa_handler = OnStopSignal;
  CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
  CHECK(sigaction(SIGINT, &action, nullptr) == 0);
  action.sa_handler = SIG_IGN;
  CHECK(sigaction(SIGPIPE, &action, nullptr) == 0);
}

bool StopWanted() {
  return stop_wanted != 0;
}

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_cur;
}

Duration CpuTime() {
  rusage usage{};
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  return FromTimeval(usage.ru_utime) + FromTimeval(usage.ru_stime);
}

}  // namespace sluice::tools
