#include "tools/sluiced/run.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/admin/control_queue.h"
#include "engine/admin/control_server.h"
#include "engine/control.h"
#include "engine/io/clock.h"
#include "engine/suspensions.h"
#include "tools/process.h"

namespace sluice {
namespace {

// Transactions under way have this long to end; a dot that waits longer is in doubt, and is
// retried.
constexpr Duration kDrainTime = std::chrono::seconds(30);

// How often the engine is asked whether it has failed.
constexpr int kStartIntervalMs = 5;
constexpr int kWatchIntervalMs = 200;

constexpr timespec kDrainLook = {.tv_sec = 0, .tv_nsec = 5'000'000};

// What is allowed, and perhaps not meant.
void Remark(const Config& config, const Tables& tables) {
  if (tables.tls != nullptr && tables.tls->shows_demo()) {
    std::fprintf(stderr,
                 "sluiced: no certificate is configured: \"Demo\", which nobody can verify, "
                 "is shown to hosts that ask for one\n");
  }
  const std::vector<policy::TlsControls> used = tables.controls->DistinctTls();
  const bool alerts = std::any_of(
      used.begin(), used.end(),
      [](const policy::TlsControls& controls) { return controls.alert_where_required_fails; });
  if (alerts && config.alert_address.empty()) {
    std::fprintf(stderr,
                 "sluiced: send_tls_req_alert is on, and [tls] alert_address is not set: nobody is "
                 "told\n");
  }
}

int Fail(const absl::Status& why) {
  std::fprintf(stderr, "sluiced: %s\n", std::string(why.message()).c_str());
  return 1;
}

void Announce(const Engine& engine, const Config& config) {
  if (!config.spool_sync) {
    std::fprintf(stderr, "sluiced: spool.sync is false: accepted mail can be lost in a crash\n");
  }
  std::string listening;
  for (const SocketAddress& address : engine.listening()) listening += " " + address.ToString();
  std::fprintf(stderr, "sluiced: %u shards, listening on%s\n", engine.shards(), listening.c_str());
}

// When all that the spool held at the start has been taken up. True: it has been said.
bool AnnounceSpool(Engine& engine) {
  const std::optional<uint64_t> messages = engine.TakenUp();
  if (!messages) return false;
  std::fprintf(stderr, "sluiced: %llu messages in the spool\n",
               static_cast<unsigned long long>(*messages));
  return true;
}

void Reload(Engine& engine, Control& control) {
  engine.ReopenLog();
  const std::vector<ConfigError> errors = control.Reload();
  Print(errors);
  if (!errors.empty()) {
    std::fprintf(stderr, "sluiced: the tables have errors; the old ones stay\n");
    return;
  }
  std::fprintf(stderr, "sluiced: tables version %llu in use\n",
               static_cast<unsigned long long>(control.table_version()));
}

// Waits for what is under way, but no longer than a second signal or kDrainTime.
void Drain(Engine& engine, const sigset_t& signals) {
  engine.BeginDrain();
  const Instant deadline = io::ReadClock().instant + kDrainTime;
  while (!engine.Ended() && io::ReadClock().instant < deadline) {
    const int signal = sigtimedwait(&signals, nullptr, &kDrainLook);
    if (signal == SIGTERM || signal == SIGINT) break;
  }
  engine.Stop();
}

// Until a signal ends it, or the engine fails. False: it has failed.
bool Serve(Engine& engine, const Config& config, SuspensionList& suspensions,
           admin::ControlQueue& queue, const sigset_t& signals) {
  Control control(engine, config, suspensions);
  const int signal_source = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  pollfd sources[] = {{.fd = signal_source, .events = POLLIN, .revents = 0},
                      {.fd = queue.event(), .events = POLLIN, .revents = 0}};
  bool ends = false;
  bool spool_announced = AnnounceSpool(engine);
  while (!ends && !engine.Failed()) {
    poll(sources, std::size(sources), spool_announced ? kWatchIntervalMs : kStartIntervalMs);
    spool_announced = spool_announced || AnnounceSpool(engine);
    signalfd_siginfo signal;
    while (!ends && read(signal_source, &signal, sizeof(signal)) == sizeof(signal)) {
      if (signal.ssi_signo == SIGHUP) Reload(engine, control);
      ends = signal.ssi_signo != SIGHUP;
    }
    queue.Serve([&](const admin::ControlRequest& request) { return control.Handle(request); });
  }
  close(signal_source);
  return ends;
}

}  // namespace

void Print(const std::vector<ConfigError>& errors) {
  for (const ConfigError& error : errors) std::fprintf(stderr, "%s\n", error.ToString().c_str());
}

bool ReadTables(const Config& config, Tables& tables) {
  LoadedTables loaded = LoadTables(config, io::ReadClock().wall);
  Print(loaded.errors);
  tables = std::move(loaded.tables);
  if (loaded.errors.empty()) Remark(config, tables);
  return loaded.errors.empty();
}

int RunSluiced(const Config& config, Tables tables, Engine::Parts parts) {
  // Blocked before any thread is made, so that they come to the control thread and nowhere else.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  tools::RaiseDescriptorLimit();  // Each session needs one.

  admin::ControlQueue queue;
  absl::StatusOr<std::unique_ptr<admin::ControlServer>> server =
      admin::ControlServer::Listen(config.control_socket, queue);
  if (!server.ok()) return Fail(server.status());
  absl::StatusOr<SuspensionList> suspensions =
      SuspensionList::Load(config.spool_path + "/suspensions.json");
  if (!suspensions.ok()) {
    queue.Close();
    return Fail(suspensions.status());
  }
  Engine engine(config, std::move(parts));
  const absl::Status started =
      engine.Start(std::move(tables), suspensions->ForShards(io::ReadClock().wall));
  if (!started.ok()) {
    queue.Close();
    return Fail(started);
  }
  Announce(engine, config);
  const bool served = Serve(engine, config, *suspensions, queue, signals);
  std::fprintf(stderr, "sluiced: %s\n", served ? "draining" : "ending for recovery");
  queue.Close();
  server->reset();  // No socket is there that nobody answers.
  Drain(engine, signals);
  return served && !engine.LogFailed() ? 0 : 1;
}

}  // namespace sluice
