#include "tests/sim/workers.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::sim {
namespace {

// Processor time of one simulation; most take a hundredth of a second.
constexpr time_t kSimulationSecondsMax = 600;

constexpr size_t kSaidBytesMax = 2000;
constexpr size_t kTextBytesMax = 4000;
constexpr uint64_t kNone = UINT64_MAX;

// What the processes share.
struct Shared {
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> running[256];  // By process: which simulation; kNone: none.
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// How a result passes through a pipe; two texts follow.
struct Wire {
  uint64_t index = 0;
  uint64_t trace_hash = 0;
  Totals totals;
  uint32_t checker_bytes = 0;
  uint32_t violation_bytes = 0;
};

void WriteAll(int pipe, const void* bytes, size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = write(pipe, at, count);
    if (written < 0 && errno == EINTR) continue;
    CHECK(written > 0);
    at += written;
    count -= static_cast<size_t>(written);
  }
}

// False: the other end is gone.
bool ReadAll(int pipe, void* into, size_t count) {
  auto* at = static_cast<char*>(into);
  while (count > 0) {
    const ssize_t got = read(pipe, at, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

void SendResult(int pipe, uint64_t index, const SimulationResult& result) {
  const std::string checker = result.checker.substr(0, kTextBytesMax);
  const std::string violation = result.violation.substr(0, kTextBytesMax);
  const Wire wire = {.index = index,
                     .trace_hash = result.trace_hash,
                     .totals = result.totals,
                     .checker_bytes = static_cast<uint32_t>(checker.size()),
                     .violation_bytes = static_cast<uint32_t>(violation.size())};
  WriteAll(pipe, &wire, sizeof(wire));
  WriteAll(pipe, checker.data(), checker.size());
  WriteAll(pipe, violation.data(), violation.size());
}

bool ReceiveResult(int pipe, uint64_t& index, SimulationResult& result) {
  Wire wire;
  if (!ReadAll(pipe, &wire, sizeof(wire))) return false;
  index = wire.index;
  result = {.checker = std::string(wire.checker_bytes, ' '),
            .violation = std::string(wire.violation_bytes, ' '),
            .trace_hash = wire.trace_hash,
            .totals = wire.totals};
  return ReadAll(pipe, result.checker.data(), result.checker.size()) &&
         ReadAll(pipe, result.violation.data(), result.violation.size());
}

void LimitProcessorTime(time_t seconds) {
  itimerval limit = {};
  limit.it_value.tv_sec = seconds;
  CHECK(setitimer(ITIMER_PROF, &limit, nullptr) == 0);
}

class Workers {
 public:
  Workers(const Work& work, uint32_t processes) : work_(work), workers_(processes) {
    CHECK(processes <= std::size(Shared{}.running));
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    shared_ = new (memory) Shared;
  }
  ~Workers() { munmap(shared_, sizeof(Shared)); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void Run() {
    for (Worker& worker : workers_) Begin(worker);
    while (true) {
      std::vector<pollfd> polled;
      std::vector<Worker*> whose;
      for (Worker& worker : workers_) {
        if (worker.pipe < 0) continue;
        polled.push_back({.fd = worker.pipe, .events = POLLIN, .revents = 0});
        whose.push_back(&worker);
      }
      if (polled.empty()) return;
      if (poll(polled.data(), polled.size(), -1) < 0) continue;
      for (size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents != 0) Hear(*whose[i]);
      }
    }
  }

 private:
  struct Worker {
    pid_t process = -1;
    int pipe = -1;
    int said = -1;  // Its stderr.
  };

  void Begin(Worker& worker) {
    if (shared_->next.load() >= work_.count) return;
    int ends[2];
    CHECK(pipe(ends) == 0);
    if (worker.said < 0) worker.said = memfd_create("stderr", 0);
    CHECK(worker.said >= 0);
    std::fflush(stdout);
    worker.process = fork();
    CHECK(worker.process >= 0);
    if (worker.process == 0) {
      close(ends[0]);
      Serve(worker, ends[1]);
      std::_Exit(0);
    }
    close(ends[1]);
    worker.pipe = ends[0];
  }

  std::atomic<uint64_t>& RunningOf(const Worker& worker) {
    return shared_->running[&worker - workers_.data()];
  }

  // The process's own life.
  void Serve(const Worker& worker, int pipe) {
    dup2(worker.said, STDERR_FILENO);
    while (true) {
      const uint64_t index = shared_->next.fetch_add(1);
      RunningOf(worker).store(index < work_.count ? index : kNone);
      if (index >= work_.count) return;
      CHECK(ftruncate(STDERR_FILENO, 0) == 0);
      lseek(STDERR_FILENO, 0, SEEK_SET);
      LimitProcessorTime(kSimulationSecondsMax);
      const SimulationResult result = work_.run(index);
      LimitProcessorTime(0);
      SendResult(pipe, index, result);
      // Its stderr is looked at by whoever hears of a failure: it stays as it is until then.
      if (!result.good()) return;
    }
  }

  // What a process that has ended had said last.
  static std::string SaidBy(const Worker& worker) {
    const off_t size = lseek(worker.said, 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(kSaidBytesMax));
    std::string said(static_cast<size_t>(size - from), ' ');
    const ssize_t got = pread(worker.said, said.data(), said.size(), from);
    said.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return said;
  }

  void Hear(Worker& worker) {
    uint64_t index = 0;
    SimulationResult result;
    if (ReceiveResult(worker.pipe, index, result)) {
      if (result.good()) return work_.ended(index, result, "");
      RunningOf(worker).store(kNone);
      End(worker);
      work_.ended(index, result, SaidBy(worker));
    } else if (const int status = End(worker); RunningOf(worker).load() != kNone) {
      const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      result.checker = signal == SIGPROF ? "no end" : "a crash";
      result.violation = absl::StrCat(
          signal == 0 ? absl::StrCat("the process ended with ", WEXITSTATUS(status))
                      : absl::StrCat("the process was ended by signal ", signal),
          signal == SIGPROF ? absl::StrCat(", after ", kSimulationSecondsMax, " s") : "");
      work_.ended(RunningOf(worker).load(), result, SaidBy(worker));
    }
    Begin(worker);
  }

  static int End(Worker& worker) {
    int status = 0;
    close(worker.pipe);
    worker.pipe = -1;
    while (waitpid(worker.process, &status, 0) < 0) CHECK(errno == EINTR);
    return status;
  }

  const Work& work_;
  Shared* shared_ = nullptr;
  std::vector<Worker> workers_;
};

}  // namespace

void RunApart(const Work& work, uint32_t processes) {
  Workers(work, processes).Run();
}

}  // namespace sluice::sim
