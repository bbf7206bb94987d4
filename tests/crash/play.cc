#include "tests/crash/play.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tests/crash/found.h"
#include "tests/sim/checkers.h"

namespace sluice::crash {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kActive = minutes(12);
// Mail goes on being tried for so long when no more comes.
constexpr Duration kAfterwards = minutes(4);
constexpr uint32_t kDomains = 5;
constexpr uint32_t kLimitMinutes = 1;
// Its names cannot be looked up: its mail waits, and is moved to stay.
constexpr uint32_t kDeafDomain = kDomains - 1;

std::string DomainOf(uint32_t number) {
  return absl::StrCat("d", number, ".test");
}

}  // namespace

Shape DrawShape(uint64_t seed, uint64_t number) {
  Random random(seed * 1000003 + number);
  Shape shape;
  for (uint32_t& shards : shape.shards) shards = static_cast<uint32_t>(random.Between(1, 3));
  if (shape.shards[1] == shape.shards[0]) shape.shards[1] = shape.shards[0] % 3 + 1;
  constexpr EndOfLife kEnds[4][2] = {{EndOfLife::kDrain, EndOfLife::kPowerCut},
                                     {EndOfLife::kPowerCut, EndOfLife::kKill},
                                     {EndOfLife::kKill, EndOfLife::kDrain},
                                     {EndOfLife::kPowerCut, EndOfLife::kPowerCut}};
  std::copy_n(kEnds[number % 4], 2, shape.ends);
  shape.max_queue = number % 3 == 1 ? minutes(6) : hours(72);
  shape.short_writes = random.Chance(0.5);
  if (number % 4 == 2) {  // Bodies of several pieces, and in several segments.
    shape.segment_bytes = 2 << 20;
    shape.body_bytes_max = 1500 << 10;
    shape.short_bodies = 0.6;
    shape.messages = 40;
    return shape;
  }
  shape.segment_bytes = uint64_t{64 << 10} << random.Below(2);
  shape.messages = static_cast<uint32_t>(random.Between(50, 90));
  return shape;
}

// -------------------------------------------------------------------------------------------------
// The stage.

sim::Options Play::OptionsOf(const Shape& shape, Broken broken, bool after_crash) {
  sim::Options options;
  options.shards = shape.shards[0];
  options.domains = kDomains;
  options.messages = shape.messages;
  options.recipients_max = 5;
  options.body_bytes_max = shape.body_bytes_max;
  options.short_bodies = shape.short_bodies;
  options.active = kActive;
  options.unknown_recipients = 0.15;
  options.controls = true;
  options.notifications = true;
  options.reorders = true;
  options.segment_bytes = shape.segment_bytes;
  options.sync = broken != Broken::kPromise;
  if (after_crash) return options;
  options.faults.command_later = 0.03;
  options.faults.dot_lost = 0.03;
  options.faults.greylist = 0.2;
  options.faults.injector_breaks = 0.05;
  return options;
}

Play::Play(uint64_t seed, const Shape& shape, Broken broken)
    : Play(seed, shape, broken, /*after_crash=*/false, nullptr) {}

Play::Play(uint64_t seed, const Play& before, const Image& image, const Known& known, Instant when,
           uint32_t shards)
    : Play(seed, before.shape_, Broken::kNothing, /*after_crash=*/true, &image) {
  world_.StepWall(when - world_.instant() + seconds(5));
  Tell(known, before.facts(), ledger_);
  ledger_.life = ledger_.unclean_life = 1;
  ForgetWhatWasLost();
  marks_.Note(0, KnownNow(ledger_));
  CHECK(engine_->state() == sim::EngineModel::State::kDown);
  engine_->Start(shards);
}

Play::Play(uint64_t seed, const Shape& shape, Broken broken, bool after_crash, const Image* image)
    : shape_(shape),
      options_(OptionsOf(shape, broken, after_crash)),
      world_(seed),
      network_(world_, {.latency_max = milliseconds(20)}),
      ledger_(world_, network_),
      limits_(world_, /*one_lane=*/true,
              [this](const std::string& domain) -> const policy::Controls& {
                return engine_->InForce(domain);
              }),
      policy_(world_,
              [this](const std::string& domain) -> const policy::TlsControls& {
                return engine_->InForce(domain).tls;
              }),
      scene_{world_, network_, ledger_, limits_, policy_, options_, /*faults_on=*/!after_crash},
      resolver_(scene_),
      handshaker_(scene_),
      disk_(image, [this] { return Look(); }) {
  policy::BounceProfile profile;
  profile.initial_retry = seconds(20);
  profile.max_retry = minutes(3);
  profile.max_queue = shape.max_queue;
  ledger_.options = {.max_queue = profile.max_queue, .max_retries = profile.max_retries};
  engine_ =
      std::make_unique<sim::EngineModel>(scene_, resolver_, handshaker_, disk_, profile, [this] {
        if (!last_drain_) world_.After(seconds(2), [this] { StartLife(); });
      });
  injectors_ = std::make_unique<sim::Injectors>(scene_, [this] { return engine_->DrawListener(); });
  MakeDomains(after_crash);
  MakeTable();
}

void Play::MakeDomains(bool after_crash) {
  for (uint32_t number = 0; number < kDomains; ++number) {
    const std::string name = DomainOf(number);
    ledger_.domains[name].name = name;
    dns::Route route = {.result = dns::RouteResult::kFound};
    dns::RouteHost host = {.name = "mx." + name, .preference = 10};
    const IpAddress ip = *IpAddress::Parse(absl::StrCat("192.0.2.", number + 1));
    host.addresses.push_back(ip);
    hosts_.push_back(
        std::make_unique<sim::PeerHost>(scene_, name, SocketAddress{ip, host.port},
                                        sim::Manners{.pipelining = number % 2 == 0,
                                                     .size = false,
                                                     .notifications = number == 1,
                                                     .answer_max = milliseconds(100)}));
    engine_->AddHost({ip, host.port}, hosts_.back().get());
    route.hosts.push_back(std::move(host));
    if (number == kDeafDomain && !after_crash) {
      route = {.result = dns::RouteResult::kTemporary, .reason = "the name servers are away"};
    }
    resolver_.Add(name, std::move(route));
  }
}

// With windows to be kept: of a destination, and of all that the system sends to one.
void Play::MakeTable() {
  policy::ControlsEntry by_default = {.domain = ""};
  policy::ControlsEntry first = {.domain = DomainOf(0)};
  first.recipients_max = 20;
  first.recipient_minutes = kLimitMinutes;
  policy::ControlsEntry second = {.domain = DomainOf(1)};
  second.connections_max = 1;
  second.messages_per_connection_max = 2;
  second.system_recipients_max = 15;
  second.system_recipient_minutes = kLimitMinutes;
  engine_->UseTable({by_default, first, second});
}

std::vector<KnownWindow> Play::windows() const {
  std::vector<KnownWindow> windows = {{.destination = DomainOf(0)},
                                      {.destination = DomainOf(1), .of_system = true}};
  for (KnownWindow& window : windows) {
    window.period = minutes(kLimitMinutes);
    for (const Instant seen : limits_.Seen(window.destination)) {
      window.seen.push_back(WallOf(seen));
    }
  }
  return windows;
}

// -------------------------------------------------------------------------------------------------
// The acts.

Instant Play::Look() {
  marks_.Note(disk_.recording().size(), KnownNow(ledger_));
  return world_.instant();
}

void Play::StartLife() {
  if (engine_->state() != sim::EngineModel::State::kDown) return;
  if (life_ > 0 && shape_.ends[life_ - 1] != EndOfLife::kDrain) ForgetWhatWasLost();
  Look();
  engine_->Start(shape_.shards[life_]);
}

void Play::EndLife(EndOfLife end) {
  if (engine_->state() != sim::EngineModel::State::kRunning) {  // It is still ending.
    world_.After(seconds(1), [this, end] { EndLife(end); });
    return;
  }
  ++life_;
  if (end == EndOfLife::kDrain) return engine_->BeginDrain();
  engine_->Crash(end == EndOfLife::kPowerCut);
  world_.After(seconds(2), [this] { StartLife(); });
}

// An outcome that was appended and is not on the disk was never decided: its recipient waits again.
void Play::ForgetWhatWasLost() {
  spool::MemoryDisk copy = disk_;
  const Found found = FindOn(copy);
  std::set<std::string> waiting;
  for (const FoundMessage& message : found.messages) {
    for (const FoundRecipient& recipient : message.recipients) {
      if (recipient.waits) waiting.insert(recipient.address);
    }
  }
  for (sim::MessageFacts& message : ledger_.messages) {
    for (sim::RecipientFacts& recipient : message.recipients) {
      if (!recipient.final && !recipient.bounced && waiting.contains(recipient.address)) {
        recipient.final_life = 0;
      }
    }
  }
}

std::string Play::RunFirst() {
  StartLife();
  injectors_->Schedule(options_.messages, kActive);
  const auto at = [](double share) {
    return Duration(static_cast<int64_t>(share * static_cast<double>(kActive.count())));
  };
  world_.After(at(0.45), [this] { EndLife(shape_.ends[0]); });
  world_.After(at(0.75), [this] { EndLife(shape_.ends[1]); });
  if (shape_.short_writes) {
    world_.After(at(0.2), [this] { disk_.faults.write_bytes_max = shape_.segment_bytes / 16; });
    world_.After(at(0.6), [this] { disk_.faults.write_bytes_max = UINT64_MAX; });
  }
  world_.RunUntil(world_.instant() + kActive + kAfterwards);
  Look();
  return world_.violation();
}

// As the simulator ends: all is delivered, all is empty, and the spool is too.
std::string Play::RunToTheEnd() {
  world_.RunUntil(world_.instant() + hours(24), [this] { return engine_->Empty(); });
  Look();
  if (!world_.violated()) sim::CheckDrained(world_, *engine_);
  if (!world_.violated()) sim::CheckConservation(ledger_);
  if (world_.violated()) return world_.violation();
  last_drain_ = true;
  engine_->BeginDrain();
  world_.RunUntil(world_.instant() + hours(1),
                  [this] { return engine_->state() == sim::EngineModel::State::kDown; });
  Look();
  if (world_.violated()) return world_.violation();
  if (engine_->state() != sim::EngineModel::State::kDown) return "it does not come to rest";
  const Found found = FindOn(disk_);
  disk_.Kill();
  if (!found.messages.empty()) return "after the end there is still mail on the disk";
  return found.damaged_records > 0 ? "after the end there are damaged records" : "";
}

}  // namespace sluice::crash
