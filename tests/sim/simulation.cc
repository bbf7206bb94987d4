#include "tests/sim/simulation.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tests/sim/checkers.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_engine.h"
#include "tests/sim/sim_injector.h"
#include "tests/sim/sim_tables.h"

namespace sluice::sim {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kDrainTime = hours(1);
constexpr Duration kAbortTime = minutes(2);

class Simulation {
 public:
  Simulation(const Case& which, bool prints_trace);
  SimulationResult Run();

 private:
  void MakeDomains();
  void MakeDomain(uint32_t number);
  Manners DrawManners(const std::string& domain, const std::string& host);
  ToyCertificate DrawCertificate(const std::string& domain, const std::string& host);
  std::vector<policy::ControlsEntry> DrawnTable(bool may_hold);
  void ScheduleTrouble();
  void AtSomeTime(std::function<void()> act);
  template <class Value>
  void ForAWhile(Value& value, Value trouble, Value normal);
  void MustEndWithin(Duration time);
  uint32_t DrawShards();
  void OnEnded();
  void StartAgain();

  void Quiet();
  void EndAll();

  const Options options_;
  World world_;
  Network network_;
  Ledger ledger_;
  LimitsChecker limits_;
  PolicyChecker policy_;
  Scene scene_;
  SimResolver resolver_;
  SimHandshaker handshaker_;
  spool::MemoryDisk disk_;
  std::vector<std::unique_ptr<PeerHost>> hosts_;
  std::vector<std::string> domains_;
  std::unique_ptr<EngineModel> engine_;
  std::unique_ptr<Injectors> injectors_;
  bool active_ = true;
  bool last_drain_ = false;
  DuplicateSums duplicates_;
};

Simulation::Simulation(const Case& which, bool prints_trace)
    : options_(which.Draw()),
      world_(which.seed + (uint64_t{options_.salt} << 40), prints_trace),
      network_(world_, {.latency_max = milliseconds(world_.Between(1, 100)),
                        .cut = options_.cut,
                        .tight_rooms = options_.tight_rooms}),
      ledger_(world_, network_),
      limits_(world_, /*one_lane=*/options_.sources == 0,
              [this](const std::string& domain) -> const policy::Controls& {
                return engine_->InForce(domain);
              }),
      policy_(world_,
              [this](const std::string& domain) -> const policy::TlsControls& {
                return engine_->InForce(domain).tls;
              }),
      scene_{world_, network_, ledger_, limits_, policy_, options_},
      resolver_(scene_),
      handshaker_(scene_) {
  policy::BounceProfile profile;
  profile.initial_retry = seconds(world_.Between(5, 120));
  profile.max_retry = minutes(world_.Between(5, 60));
  if (options_.short_queue) {
    profile.max_queue = minutes(world_.Between(5, 60));
    profile.max_retries = static_cast<uint32_t>(world_.Between(2, 20));
  }
  ledger_.options = {.max_queue = profile.max_queue, .max_retries = profile.max_retries};
  engine_ = std::make_unique<EngineModel>(scene_, resolver_, handshaker_, disk_, profile,
                                          [this] { OnEnded(); });
  injectors_ = std::make_unique<Injectors>(scene_, [this] { return engine_->DrawListener(); });
}

// -------------------------------------------------------------------------------------------------
// The world.

void Simulation::MakeDomains() {
  for (uint32_t number = 0; number < options_.domains; ++number) MakeDomain(number);
}

void Simulation::MakeDomain(uint32_t number) {
  const std::string name = absl::StrCat("d", number, ".p", number % 3, ".test");
  DomainFacts& domain = ledger_.domains[name];
  domain.name = name;
  domains_.push_back(name);
  dns::Route route = {.result = dns::RouteResult::kFound};
  if (number > 0 && world_.Chance(options_.bad_domains)) {
    const dns::RouteResult results[] = {dns::RouteResult::kNoSuchDomain, dns::RouteResult::kNullMx,
                                        dns::RouteResult::kNoHost, dns::RouteResult::kRefused};
    domain.exists = false;
    domain.may_bounce = true;
    route.result = results[world_.random().Below(4)];
    route.reason = "it does not exist";
    return resolver_.Add(name, std::move(route));
  }
  const uint64_t hosts = options_.one_host_only ? 1 : world_.Between(1, 3);
  for (uint64_t host = 0; host < hosts; ++host) {
    dns::RouteHost it = {.name = absl::StrCat("mx", host, ".", name),
                         .preference = static_cast<uint16_t>(world_.Between(1, 2) * 10)};
    const uint64_t addresses = options_.one_host_only ? 1 : world_.Between(1, 2);
    for (uint64_t i = 0; i < addresses; ++i) {
      const IpAddress ip = *IpAddress::Parse(absl::StrCat("192.", number, ".", host, ".", i + 1));
      it.addresses.push_back(ip);
      const Manners manners = DrawManners(name, it.name);
      domain.hosts.push_back({.name = it.name,
                              .start_tls = manners.start_tls && !manners.helo_only,
                              .certificate = manners.certificate});
      hosts_.push_back(
          std::make_unique<PeerHost>(scene_, name, SocketAddress{ip, it.port}, manners));
      engine_->AddHost({ip, it.port}, hosts_.back().get());
    }
    route.hosts.push_back(std::move(it));
  }
  std::vector<std::string> names;
  for (const dns::RouteHost& host : route.hosts) names.push_back(host.name);
  policy_.KnowHosts(name, std::move(names));
  std::stable_sort(
      route.hosts.begin(), route.hosts.end(),
      [](const dns::RouteHost& a, const dns::RouteHost& b) { return a.preference < b.preference; });
  resolver_.Add(name, std::move(route));
}

Manners Simulation::DrawManners(const std::string& domain, const std::string& host) {
  Manners manners;
  manners.pipelining = options_.peers_pipeline && world_.Chance(0.8);
  if (world_.Chance(options_.plain_peers)) {
    manners.helo_only = world_.Chance(0.3);
    manners.pipelining = world_.Chance(0.3);
    manners.size = world_.Chance(0.5);
    manners.eight_bit = world_.Chance(0.5);
  }
  if (world_.Chance(options_.recipients_bound)) {
    manners.recipients_max = static_cast<uint32_t>(world_.Between(1, 5));
  }
  manners.multi_line = world_.Chance(0.2);
  manners.notifications = options_.notifications && world_.Chance(0.5);
  manners.answer_max = world_.Delay(milliseconds(1), seconds(4));
  if (options_.ahead_refused > 0 && world_.Chance(options_.ahead_refused)) {
    manners.ahead = static_cast<Manners::Ahead>(world_.Between(1, 4));
  }
  if (options_.chunking > 0 && world_.Chance(options_.chunking)) {
    manners.chunking = true;
    if (world_.Chance(0.2)) manners.chunks = static_cast<Manners::Chunks>(world_.Between(1, 3));
  }
  if (!options_.tls) return manners;
  manners.start_tls = world_.Chance(0.8);
  manners.certificate = DrawCertificate(domain, host);
  return manners;
}

ToyCertificate Simulation::DrawCertificate(const std::string& domain, const std::string& host) {
  ToyCertificate certificate = {.names = {domain}};
  switch (world_.Between(0, 9)) {
    case 0:
    case 1:
      certificate.names = {host};
      break;
    case 2:
      certificate.names = {"other.test"};
      break;
    case 3:
      certificate.expired = true;
      break;
    case 4:
      certificate.trusted = false;
      break;
    case 5:
      certificate.shown = false;
      break;
    default:
      certificate.names.push_back(host);
  }
  return certificate;
}

std::vector<policy::ControlsEntry> Simulation::DrawnTable(bool may_hold) {
  return DrawTable(
      world_, options_, domains_,
      [this](const std::string& domain, policy::TlsLevel level) {
        const auto found = ledger_.domains.find(domain);
        if (found == ledger_.domains.end()) return PolicyChecker::MetByAnybody(level);
        const std::vector<HostFacts>& hosts = found->second.hosts;
        return std::all_of(hosts.begin(), hosts.end(), [&](const HostFacts& host) {
          return policy_.MetBy(domain, level, host.start_tls ? &host.certificate : nullptr);
        });
      },
      may_hold);
}

// -------------------------------------------------------------------------------------------------
// Trouble.

void Simulation::AtSomeTime(std::function<void()> act) {
  const double fraction = world_.random().Fraction();
  world_.After(Duration(static_cast<int64_t>(fraction * double(options_.active.count()))),
               std::move(act));
}

template <class Value>
void Simulation::ForAWhile(Value& value, Value trouble, Value normal) {
  if (!active_) return;
  value = trouble;
  world_.After(world_.Delay(milliseconds(1), minutes(5)), [&value, normal] { value = normal; });
}

void Simulation::ScheduleTrouble() {
  const Faults& faults = options_.faults;
  for (int i = 0; i < options_.table_swaps; ++i) {
    AtSomeTime([this] { engine_->UseTable(DrawnTable(active_)); });
  }
  for (int i = 0; i < faults.crashes + faults.power_cuts; ++i) {
    AtSomeTime([this, power = i >= faults.crashes] {
      if (!active_ || engine_->state() == EngineModel::State::kDown) return;
      engine_->Crash(power);
      StartAgain();
    });
  }
  for (int i = 0; i < faults.restarts + faults.aborts; ++i) {
    AtSomeTime([this, aborts = i >= faults.restarts] {
      if (!active_) return;
      engine_->BeginDrain();
      MustEndWithin(kDrainTime);
      if (!aborts) return;
      world_.After(world_.Delay(milliseconds(1), seconds(60)), [this] {
        engine_->Abort();
        MustEndWithin(kAbortTime);
      });
    });
  }
  for (int i = 0; i < faults.disk_errors; ++i) {
    AtSomeTime([this] {
      int& error = world_.Chance(0.5) ? disk_.faults.write_error : disk_.faults.sync_error;
      ForAWhile(error, EIO, 0);
    });
  }
  for (int i = 0; i < faults.disk_full; ++i) {
    AtSomeTime([this] {
      const uint64_t room = world_.Between(0, 4) * options_.segment_bytes;
      ForAWhile(disk_.faults.capacity_bytes, disk_.allocated_bytes() + room, UINT64_MAX);
    });
  }
  for (int i = 0; i < faults.clock_steps; ++i) {
    AtSomeTime([this] {
      const Duration step = world_.Delay(milliseconds(1), minutes(10));
      ledger_.clock_steps += step;
      world_.StepWall(world_.Chance(0.5) ? step : -step);
    });
  }
  for (int i = 0; i < faults.name_errors; ++i) {
    AtSomeTime([this] { ForAWhile(disk_.faults.name_error, EIO, 0); });
  }
  for (int i = 0; i < faults.read_errors; ++i) {
    AtSomeTime([this] { ForAWhile(disk_.faults.read_error, EIO, 0); });
  }
  for (int i = 0; i < options_.lost_addresses; ++i) {
    AtSomeTime([this] {
      const IpAddress address =
          EngineModel::AddressOfSource(static_cast<uint32_t>(world_.Between(1, options_.sources)));
      engine_->LoseAddress(address);
      world_.After(world_.Delay(milliseconds(1), minutes(5)),
                   [this, address] { engine_->GetAddressBack(address); });
    });
  }
}

// What is ending now.
void Simulation::MustEndWithin(Duration time) {
  if (engine_->state() != EngineModel::State::kEnding) return;
  world_.After(time, [this, life = engine_->number_of_starts()] {
    if (engine_->number_of_starts() != life) return;
    if (engine_->state() != EngineModel::State::kEnding) return;
    world_.Violated("liveness (drain)", absl::StrCat("it does not end: ", engine_->Leftovers()));
  });
}

uint32_t Simulation::DrawShards() {
  // With slabs that just hold the mail, fewer shards could not take it on.
  if (options_.small_slabs || world_.Chance(0.5)) return options_.shards;
  return static_cast<uint32_t>(world_.Between(1, 4));
}

void Simulation::OnEnded() {
  if (!last_drain_) StartAgain();
}

// Nobody starts an engine on a disk that does not work.
void Simulation::StartAgain() {
  world_.After(world_.Delay(seconds(1), minutes(3)), [this] {
    if (engine_->state() != EngineModel::State::kDown) return;
    disk_.faults = {};
    engine_->Start(DrawShards());
  });
}

// -------------------------------------------------------------------------------------------------
// The run.

// No more faults. Whatever is there goes out within a day.
void Simulation::Quiet() {
  active_ = false;
  scene_.faults_on = false;
  disk_.faults = {};
  world_.Happens("faults end");
  world_.RunUntil(world_.instant() + hours(2),
                  [this] { return engine_->state() == EngineModel::State::kRunning; });
  if (engine_->state() != EngineModel::State::kRunning) {
    return world_.Violated("liveness (drain)", "a drain does not end");
  }
  if (options_.controls) engine_->UseTable(DrawnTable(false));
  const Instant last = world_.instant() + hours(24);
  if (!world_.RunUntil(last, [this] { return engine_->Empty(); })) return;
  CheckDrained(world_, *engine_);
  if (world_.violated()) return;
  CheckConservation(ledger_);
  duplicates_ = CheckDuplicateSums(ledger_);
  limits_.CheckWindows();
  // Destinations are forgotten when their windows are empty, and when what they know of a host's
  // failures (for up to the longest retry) is too old to be of use.
  world_.RunUntil(world_.instant() + minutes(90));
  CheckNothingHeld(world_, *engine_);
}

void Simulation::EndAll() {
  last_drain_ = true;
  engine_->BeginDrain();
  world_.RunUntil(world_.instant() + kAbortTime,
                  [this] { return engine_->state() == EngineModel::State::kDown; });
  if (world_.violated()) return;
  if (engine_->state() != EngineModel::State::kDown) {
    return world_.Violated("liveness (drain)", "an empty engine does not come to rest");
  }
  absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
  CHECK(recovered.ok());
  if (!recovered->messages.empty()) {
    world_.Violated("conservation", absl::StrCat(recovered->messages.size(),
                                                 " messages stand in the log after the end"));
  }
}

SimulationResult Simulation::Run() {
  const Instant begin = world_.instant();
  MakeDomains();
  std::vector<policy::ControlsEntry> entries;
  if (options_.controls) entries = DrawnTable(true);
  engine_->UseTable(std::move(entries));
  engine_->Start(options_.shards);
  injectors_->Schedule(options_.messages, options_.active);
  ScheduleTrouble();
  world_.RunUntil(world_.instant() + options_.active);
  if (!world_.violated()) Quiet();
  if (!world_.violated()) EndAll();
  return {.checker = world_.violated_checker(),
          .violation = world_.violation(),
          .trace_hash = world_.trace_hash(),
          .totals = {.messages = ledger_.messages.size(),
                     .deliveries = ledger_.deliveries.size(),
                     .calls = limits_.calls(),
                     .sealed_calls = policy_.sealed_calls(),
                     .duplicates = duplicates_.duplicates,
                     .in_doubt = duplicates_.in_doubt,
                     .starts = engine_->number_of_starts(),
                     .virtual_seconds = Seconds(world_.instant() - begin)}};
}

}  // namespace

void Totals::Add(const Totals& other) {
  messages += other.messages;
  deliveries += other.deliveries;
  calls += other.calls;
  sealed_calls += other.sealed_calls;
  duplicates += other.duplicates;
  in_doubt += other.in_doubt;
  starts += other.starts;
  virtual_seconds += other.virtual_seconds;
}

SimulationResult Simulate(const Case& which, bool prints_trace) {
  auto simulation = std::make_unique<Simulation>(which, prints_trace);
  return simulation->Run();
}

}  // namespace sluice::sim
