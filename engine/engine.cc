#include "engine/engine.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <thread>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/io/clock.h"
#include "engine/resolver_options.h"
#include "engine/spool/stock.h"

namespace sluice {
namespace {

// How often the control thread looks whether the shards have ended.
constexpr auto kLookInterval = std::chrono::milliseconds(2);

// The same where the answer comes within a turn.
constexpr auto kAnswerInterval = std::chrono::microseconds(50);

// How long a shard is waited for: one that hangs must not hold the control thread up.
constexpr auto kAnswerTime = std::chrono::seconds(1);

// How long a shard has to end after it was told to abort, before the process ends without it.
constexpr auto kAbortTime = std::chrono::seconds(5);

std::vector<int> AvailableCores() {
  cpu_set_t set;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

}  // namespace

Engine::~Engine() {
  Stop();
}

absl::Status Engine::Start(Tables tables, std::shared_ptr<const policy::Suspensions> suspensions) {
  suspensions_ = std::move(suspensions);
  const std::vector<int> cores = AvailableCores();
  shards_ = config_.shards > 0 ? config_.shards
                               : std::max<uint32_t>(1, static_cast<uint32_t>(cores.size()));
  shards_ = std::min<uint32_t>(shards_, limits::kShardsMax);

  absl::StatusOr<std::unique_ptr<spool::PosixDisk>> disk =
      spool::PosixDisk::Open(config_.spool_path);
  if (!disk.ok()) return disk.status();
  disk_ = std::move(*disk);
  absl::StatusOr<spool::Stock> stock = spool::TakeStock(*disk_);
  if (!stock.ok()) return stock.status();

  OpenActiveFile();
  absl::StatusOr<std::unique_ptr<admin::DeliveryLogWriter>> log_writer =
      admin::DeliveryLogWriter::Open({.path = config_.delivery_log, .shards = shards_});
  if (!log_writer.ok()) return log_writer.status();
  log_writer_ = std::move(*log_writer);

  if (!config_.bounce_key.empty()) {
    tagger_.emplace(config_.bounce_key, config_.bounce_key_number);
  }
  post_ = std::make_unique<shard::Post>(shards_);
  controls_ = std::move(tables.controls);
  controls_->set_version(next_version_++);
  absl::Status resolver = StartResolver(std::move(tables.routes));
  if (!resolver.ok()) return resolver;
  StartHandshakes();
  tls_ = std::move(tables.tls);

  std::vector<shard::Shard::Inheritance> inheritances =
      shard::Shard::Divide(std::move(*stock), shards_);
  for (uint32_t number = 0; number < shards_; ++number) {
    logs_.push_back(std::make_unique<admin::ShardLog>(number, *log_writer_));
    shard::Runner::Options options = RunnerOptions(number);
    if (number < cores.size()) options.core = cores[number];
    const shard::Shard::World world = {.disk = disk_.get(),
                                       .resolver = resolver_.get(),
                                       .handshaker = handshakes_.get(),
                                       .events = logs_.back().get(),
                                       .caps = &caps_,
                                       .sources = &config_.sources,
                                       .tagger = tagger_ ? &*tagger_ : nullptr,
                                       .active = active_ ? &active_->Of(number) : nullptr,
                                       .post = post_.get()};
    runners_.push_back(std::make_unique<shard::Runner>(
        std::move(options), world,
        delivery::Dispatcher::Tables{.controls = controls_.get(), .tls = tls_},
        std::move(inheritances[number])));
    // One after another: with port 0, the later ones listen where the first one does.
    absl::Status started = runners_.back()->WaitUntilStarted();
    if (!started.ok()) return started;
  }
  for (const std::unique_ptr<shard::Runner>& runner : runners_) runner->Serve();
  return absl::OkStatus();
}

// Mail is worth more than knowing what the last run died of.
void Engine::OpenActiveFile() {
  absl::StatusOr<std::unique_ptr<ActiveFile>> file =
      ActiveFile::Open(config_.spool_path, shards_, ReadBootId());
  if (file.ok()) {
    active_ = *std::move(file);
    if (active_->saved().ok()) return;
    std::fprintf(stderr, "sluice: ALARM: what the engine died of is not kept: %s\n",
                 std::string(active_->saved().message()).c_str());
    return;
  }
  std::fprintf(stderr,
               "sluice: ALARM: no message is in quarantine, and none comes to be that the engine "
               "dies of: %s\n",
               std::string(file.status().message()).c_str());
}

// A handshake is mostly arithmetic: with as many threads as half of the cores, shards keep theirs.
void Engine::StartHandshakes() {
  tls::HandshakePool::Options options;
  const size_t cores = AvailableCores().size();
  options.threads = config_.handshake_threads > 0
                        ? config_.handshake_threads
                        : std::max<uint32_t>(1, static_cast<uint32_t>(cores / 2));
  options.now = [] { return io::ReadClock().instant; };
  options.wall = [] { return io::ReadClock().wall; };
  options.thread_time = [] { return io::ReadThreadTime(); };
  for (uint32_t number = 0; number < shards_; ++number) {
    options.wakers.push_back([this, number] { post_->Wake(number); });
  }
  handshakes_ = std::make_unique<tls::HandshakePool>(std::move(options));
}

absl::Status Engine::StartResolver(dns::RoutesTable routes) {
  dns::UnboundResolver::Options options = ResolverOptions(config_);
  for (uint32_t number = 0; number < shards_; ++number) {
    options.wakers.push_back([this, number] { post_->Wake(number); });
  }
  resolver_ = std::make_unique<dns::UnboundResolver>(std::move(options));
  resolver_->UseRoutes(std::make_shared<const dns::RoutesTable>(std::move(routes)));
  return resolver_->Start();
}

shard::Runner::Options Engine::RunnerOptions(uint32_t number) const {
  shard::Runner::Options options;
  options.make_io = parts_.make_io;
  options.shard = parts_.shard;
  options.shard.number = number;
  options.shard.hostname = config_.hostname;
  options.shard.sync = config_.spool_sync;
  options.shard.log.min_free_bytes = config_.spool_min_free_bytes.value_or(
      std::max(kSpoolMinFreeBytes, spool::PosixDisk::TotalBytes(config_.spool_path) / 100));
  options.shard.log.spares_kept_back = 1;
  options.shard.bounce_profiles = {
      .by_default = config_.bounce_profiles.front(),
      .others = {config_.bounce_profiles.begin() + 1, config_.bounce_profiles.end()}};
  options.shard.alert_address = config_.alert_address;
  options.shard.dispatcher.suspensions = suspensions_;
  std::random_device chance;
  options.shard.random_seed = (uint64_t{chance()} << 32) | chance();
  for (const ListenerConfig& listener : config_.listeners) {
    options.shard.intake.listeners.push_back({.relay_from = listener.relay_from,
                                              .message_bytes_max = listener.message_bytes_max,
                                              .certificate = listener.certificate});
    SocketAddress address = listener.address;
    if (number > 0) address = runners_.front()->listening()[options.listen.size()];
    options.listen.push_back(address);
  }
  return options;
}

void Engine::Tell(const shard::Mail& mail) {
  for (uint32_t number = 0; number < shards_; ++number) Send(number, mail);
}

void Engine::Send(uint32_t shard, const shard::Mail& mail) {
  shard::ShardMailbox& box = post_->Box(post_->control(), shard);
  CHECK(box.Put(mail));  // The control thread waits for each answer: the box is never full.
  box.Publish();
  post_->Notify(shard);
}

uint64_t Engine::UseTables(Tables tables) {
  resolver_->UseRoutes(std::make_shared<const dns::RoutesTable>(std::move(tables.routes)));
  std::unique_ptr<policy::ControlsTable> controls = std::move(tables.controls);
  const uint64_t version = next_version_++;
  controls->set_version(version);
  const delivery::Dispatcher::Tables told = {.controls = controls.get(), .tls = tables.tls};
  Tell({.kind = shard::MailKind::kTables, .tables = &told});
  for (uint32_t number = 0; number < shards_; ++number) {
    while (post_->table_version(number).load(std::memory_order_acquire) != version &&
           runners_[number]->serves()) {
      std::this_thread::sleep_for(kAnswerInterval);
    }
  }
  controls_ = std::move(controls);
  Retire(std::exchange(tls_, std::move(tables.tls)));
  return version;
}

// The old ones are kept until all have answered: no shard is the one that frees them.
std::vector<uint32_t> Engine::UseSuspensions(
    std::shared_ptr<const policy::Suspensions> suspensions) {
  std::vector<uint32_t> silent;
  for (uint32_t number = 0; number < shards_; ++number) {
    const std::optional<bool> told = Ask<bool>(number, [suspensions](shard::Shard& of, Now) {
      of.dispatcher().UseSuspensions(suspensions);
      return true;
    });
    if (!told) silent.push_back(number);
  }
  suspensions_ = std::move(suspensions);
  return silent;
}

// Connections may use it for as long as they last. The last of them must not be the one that frees
// it, on its shard.
void Engine::Retire(std::shared_ptr<const tls::Environment> environment) {
  retired_.push_back(std::move(environment));
  std::erase_if(retired_, [](const auto& each) { return each.use_count() == 1 && !each->InUse(); });
}

// Back when it has been run; null: it has not, and is kept until it cannot be any more.
std::unique_ptr<shard::Task> Engine::RunTask(uint32_t shard, std::unique_ptr<shard::Task> task) {
  unanswered_.resize(shards_);
  std::unique_ptr<shard::Task>& before = unanswered_[shard];
  if (before != nullptr && !before->done.load(std::memory_order_acquire)) return nullptr;
  Send(shard, {.kind = shard::MailKind::kTask, .task = task.get()});
  const Instant last = io::ReadClock().instant + kAnswerTime;
  while (!task->done.load(std::memory_order_acquire)) {
    if (!runners_[shard]->serves() || io::ReadClock().instant > last) {
      before = std::move(task);
      return nullptr;
    }
    std::this_thread::sleep_for(kAnswerInterval);
  }
  return task;
}

void Engine::ReopenLog() {
  log_writer_->Reopen();
}

bool Engine::Failed() {
  return LogFailed() || std::any_of(runners_.begin(), runners_.end(),
                                    [](const auto& runner) { return !runner->serves(); });
}

bool Engine::LogFailed() {
  for (uint32_t number = 0; number < shards_; ++number) {
    if (post_->failed(number).load(std::memory_order_acquire)) return true;
  }
  return false;
}

std::optional<uint64_t> Engine::TakenUp() {
  uint64_t messages = 0;
  for (uint32_t number = 0; number < shards_; ++number) {
    const int64_t taken_up = post_->taken_up(number).load(std::memory_order_acquire);
    if (taken_up < 0) return std::nullopt;
    messages += static_cast<uint64_t>(taken_up);
  }
  return messages;
}

void Engine::BeginDrain() {
  Tell({.kind = shard::MailKind::kDrain});
}

bool Engine::Ended() const {
  return std::none_of(runners_.begin(), runners_.end(),
                      [](const auto& runner) { return runner->serves(); });
}

void Engine::Stop() {
  if (post_ == nullptr) return;
  if (!Ended()) Tell({.kind = shard::MailKind::kAbort});
  const Instant last = io::ReadClock().instant + kAbortTime;
  while (!Ended() && io::ReadClock().instant < last) std::this_thread::sleep_for(kLookInterval);
  // What does not end now hangs in a system call of a dead disk; what it promised is in the log.
  if (!Ended()) std::_Exit(1);
  resolver_.reset();  // First: its thread wakes the shards, as the pool's do.
  handshakes_.reset();
  runners_.clear();
  logs_.clear();
  log_writer_.reset();
}

}  // namespace sluice
