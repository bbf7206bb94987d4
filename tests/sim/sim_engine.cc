#include "tests/sim/sim_engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/spool/recovery.h"
#include "engine/spool/stock.h"
#include "tests/sim/checkers.h"
#include "tests/sim/toy_environment.h"

namespace sluice::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// A shard that takes so many turns at once, without a completion, is not getting anywhere.
constexpr uint64_t kIdleTurnsMax = 20000;

// So often may a log be synced in this time while nothing happens: there is something to tidy up.
constexpr uint64_t kIdleSyncsMax = 100;
constexpr Duration kIdleSyncsIn = seconds(20);

// Of so many turns one is followed by a look at what is held.
constexpr uint64_t kTurnsALook = 16;

}  // namespace

EngineModel::EngineModel(Scene& scene, SimResolver& resolver, SimHandshaker& handshaker,
                         spool::MemoryDisk& disk, policy::BounceProfile profile,
                         std::function<void()> ended)
    : scene_(scene),
      resolver_(resolver),
      handshaker_(handshaker),
      tls_(scene.options.tls ? ToyEnvironment() : nullptr),
      disk_(disk),
      profile_(std::move(profile)),
      ended_(std::move(ended)) {
  MakeSources();
}

EngineModel::~EngineModel() {
  Bury();
}

// -------------------------------------------------------------------------------------------------
// Sources.

IpAddress EngineModel::AddressOfSource(uint32_t source) {
  return *IpAddress::Parse(absl::StrCat("198.18.0.", source));
}

// Mail of one group of senders leaves by the first source, of another one by all, and the rest as
// the system chooses.
void EngineModel::MakeSources() {
  if (scene_.options.sources == 0) return;
  policy::SourcePool all = {.name = "all"};
  for (uint32_t number = 1; number <= scene_.options.sources; ++number) {
    const uint32_t source = sources_.AddSource(
        {.name = absl::StrCat("source", number), .ipv4 = AddressOfSource(number)});
    CHECK(source == number);
    all.members.push_back({.source = source, .weight = number});
  }
  const uint32_t pool_of_all = sources_.AddPool(std::move(all));
  policy::SourceRule one = *policy::ParseSourceRule("@.p0.test");
  one.pool = *sources_.FindPool("source1");
  sources_.AddRule(std::move(one));
  policy::SourceRule every = *policy::ParseSourceRule("@.p1.test");
  every.pool = pool_of_all;
  sources_.AddRule(std::move(every));
}

// -------------------------------------------------------------------------------------------------
// Starting.

bool EngineModel::Start(uint32_t shards) {
  CHECK(state_ == State::kDown);
  ++starts_;
  ++scene_.ledger.life;
  log_failed_ = false;
  scene_.world.Happens("engine starts", shards, scene_.ledger.life);
  absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
  CHECK(recovered.ok());
  CheckRecovered(scene_.ledger, *recovered);
  if (orderly_ && recovered->damaged_records > 0) {
    scene_.world.Violated("durability", "damaged records after an orderly end");
  }
  scene_.limits.ForgetOutstanding();
  for (const spool::RecoveredMessage& message : recovered->messages) {
    for (const spool::RecipientRecord& recipient : message.accepted.recipients) {
      if (recipient.state == spool::RecipientState::kWaiting)
        scene_.limits.Outstanding(recipient.destination, +1);
    }
  }
  disk_.Kill();  // That was the checkers' look; the engine opens it anew.
  absl::StatusOr<spool::Stock> stock = spool::TakeStock(disk_);
  CHECK(stock.ok());
  std::vector<shard::Shard::Inheritance> inheritances =
      shard::Shard::Divide(*std::move(stock), shards);
  post_ = std::make_unique<shard::Post>(shards);
  caps_ = std::make_unique<delivery::EngineCaps>(ConnectionsCap(), HandshakesCap());
  resolver_.Begin(shards, [this](uint32_t number) { post_->Wake(number); });
  handshaker_.Begin(shards, [this](uint32_t number) { post_->Wake(number); });
  state_ = State::kRunning;
  nodes_.clear();
  nodes_.resize(shards);
  for (uint32_t number = 0; number < shards; ++number) {
    if (!StartShard(number, std::move(inheritances[number]))) return false;
  }
  scene_.limits.OnTables(/*forgets=*/scene_.options.faults.clock_steps > 0);
  scene_.policy.OnTables();
  return !scene_.world.violated();
}

bool EngineModel::StartShard(uint32_t number, shard::Shard::Inheritance inheritance) {
  Node& node = nodes_[number];
  const Now now = scene_.world.now();
  node.io = std::make_unique<SimIo>(
      SimIo::Options{
          .shard = number,
          .accept_error = scene_.faults_on ? scene_.options.faults.accept_error * 0.3 : 0,
          .open_error = scene_.options.faults.open_error * 0.3,
          .reorders = scene_.options.reorders},
      scene_.world, scene_.network, disk_, *this, [this, number, life = starts_] {
        if (life != starts_ || state_ == State::kDown) return;
        const bool slow = scene_.options.slow_turns && scene_.world.Chance(0.02);
        ScheduleTurn(number, scene_.world.instant() +
                                 scene_.world.Delay(microseconds(1),
                                                    slow ? milliseconds(800) : microseconds(60)));
      });
  node.events = std::make_unique<SimEvents>(scene_);
  node.listener = *SocketAddress::Parse(absl::StrCat("127.0.0.", number + 1, ":2525"));
  shard::Shard::Options options = ShardOptions(number);
  options.intake.listeners.push_back({.socket = node.io->Listen(node.listener, {}),
                                      .relay_from = {*sluice::Network::Parse("127.0.0.0/8")},
                                      .certificate = scene_.options.intake_tls ? "toy" : ""});
  const shard::Shard::World world = {.io = node.io.get(),
                                     .disk = &disk_,
                                     .resolver = &resolver_,
                                     .handshaker = tls_ != nullptr ? &handshaker_ : nullptr,
                                     .events = node.events.get(),
                                     .caps = caps_.get(),
                                     .sources = scene_.options.sources > 0 ? &sources_ : nullptr,
                                     .post = post_.get()};
  node.table_version = tables_.back()->version();
  post_->table_version(number).store(node.table_version);
  node.options = options;
  node.shard = std::make_unique<shard::Shard>(
      options, world, delivery::Dispatcher::Tables{.controls = tables_.back().get(), .tls = tls_},
      now);
  post_->SetWaker(number, &node.io->waker());
  const absl::Status started = node.shard->Start(std::move(inheritance), now);
  if (!started.ok()) {
    scene_.world.Violated("liveness (start)",
                          absl::StrCat("a shard does not start: ", started.message()));
    return false;
  }
  ScheduleTurn(number, now.instant);
  return true;
}

shard::Shard::Options EngineModel::ShardOptions(uint32_t number) {
  shard::Shard::Options options;
  options.number = number;
  options.hostname = "relay.test";
  options.sync = scene_.options.sync;
  options.random_seed = scene_.world.random().Next();
  options.bounce_profiles.by_default = profile_;
  options.log.segment_bytes = scene_.options.segment_bytes;
  options.log.outcome_reserve_bytes = scene_.options.segment_bytes / 2;
  options.intake.sessions_max = 64;
  options.home.messages_max = 4096;
  options.home.parcels_max = 8192;
  options.home.incoming_max = 64 + intake::kRefusedSessionsMax;
  options.home.body_blocks = 1024;
  options.dispatcher.destinations_max = 64;
  options.dispatcher.connections_max = 400;
  if (scene_.options.streams) {
    options.home.body_bytes_in_memory_max = 300;
    options.dispatcher.streams_max = 8;
  }
  if (scene_.options.few_residents) {
    options.home.residents_max = 12;
    options.home.out_max = 16;
  }
  if (!scene_.options.small_slabs) return options;
  options.intake.sessions_max = 3;
  options.home.messages_max = 24;
  options.home.parcels_max = 100;
  options.home.residents_max = 8;
  options.home.out_max = 12;
  options.home.body_blocks = 24;
  options.dispatcher.destinations_max = 3;
  options.dispatcher.connections_max = 2;
  return options;
}

// -------------------------------------------------------------------------------------------------
// Turns.

void EngineModel::ScheduleTurn(uint32_t number, Instant when) {
  Node& node = nodes_[number];
  if (node.ended || when >= node.next_turn) return;
  node.next_turn = when;
  scene_.world.At(when, [this, number, life = starts_, serial = ++node.turn_serial] {
    if (life != starts_ || state_ == State::kDown) return;
    if (nodes_[number].turn_serial != serial || nodes_[number].ended) return;
    TakeTurn(number);
  });
}

// As Runner::Serve does.
void EngineModel::TakeTurn(uint32_t number) {
  Node& node = nodes_[number];
  const Now now = scene_.world.now();
  node.next_turn = kNever;
  ++node.turn_serial;
  post_->EndSleep(number);
  node.io->TakeCompletions(completions_);
  const bool without_completions = completions_.empty();
  Instant until = node.shard->Step(now, completions_);
  node.io->EndTurn();
  scene_.world.Note("turn", number, completions_.size());
  const uint64_t version = post_->table_version(number).load();
  if (version != node.table_version) {
    node.table_version = version;
    scene_.limits.OnTables(/*forgets=*/false);
    scene_.policy.OnTables();
  }
  if (Spins(node, without_completions, until)) {
    return scene_.world.Violated("liveness (spin)", absl::StrCat("shard ", number, " spins"));
  }
  if (++node.turns % kTurnsALook == 0) CheckWithinBounds(scene_.world, *this);
  if (WritesForNothing(node)) {
    return scene_.world.Violated("liveness (writes)",
                                 absl::StrCat("shard ", number, " writes to its log ",
                                              "again and again, and nothing happens"));
  }
  if (node.shard->log_failed()) scene_.ledger.disk_failed = log_failed_ = true;
  if (post_->failed(number).load() && state_ == State::kRunning) BeginDrain();
  if (node.shard->AtRest()) {
    node.ended = true;
    if (std::all_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.ended; })) {
      orderly_ = !log_failed_;
      if (log_failed_) scene_.ledger.unclean_life = scene_.ledger.life;
      scene_.world.Happens("engine ends");
      for (Node& each : nodes_) each.io->End();
      disk_.Kill();
      Bury();
      state_ = State::kDown;
      ended_();
    }
    return;
  }
  if (!post_->BeginSleep(number)) until = now.instant;
  if (node.io->has_completions()) until = now.instant;
  if (until == kNever) return;
  ScheduleTurn(
      number, std::max(until, now.instant + scene_.world.Delay(microseconds(1), microseconds(20))));
}

// A turn for a timer's sake is no spin: the wheel ticks by the millisecond.
bool EngineModel::Spins(Node& node, bool without_completions, Instant until) {
  const Instant now = scene_.world.instant();
  const bool at_once = now - node.last_turn < microseconds(500);
  node.idle_turns = without_completions && at_once ? node.idle_turns + 1 : 0;
  node.last_turn = now;
  if (until > now + seconds(1)) node.idle_turns = 0;
  return node.idle_turns > kIdleTurnsMax;
}

bool EngineModel::WritesForNothing(Node& node) {
  const Instant now = scene_.world.instant();
  if (node.happenings != scene_.world.happenings() || now >= node.syncs_since + kIdleSyncsIn) {
    node.happenings = scene_.world.happenings();
    node.syncs_since = now;
    node.syncs = node.io->syncs();
  }
  // Where few are in memory each message is moved with a sync of its own; a large body in pieces,
  // each with a sync, and then its promise.
  const uint64_t syncs_a_move = scene_.options.streams ? 4 : scene_.options.few_residents ? 1 : 0;
  const uint64_t moves = syncs_a_move * node.shard->home().messages();
  return node.io->syncs() - node.syncs > kIdleSyncsMax + moves;
}

void EngineModel::Tell(const shard::Mail& mail) {
  for (uint32_t number = 0; number < shards(); ++number) {
    shard::ShardMailbox& box = post_->Box(post_->control(), number);
    CHECK(box.Put(mail));
    box.Publish();
    post_->Notify(number);
  }
}

void EngineModel::UseTable(std::vector<policy::ControlsEntry> entries) {
  tables_.push_back(
      std::make_unique<policy::ControlsTable>(std::move(entries), tables_.size() + 1));
  scene_.world.Happens("new table", tables_.size());
  if (state_ == State::kDown) return;
  told_.push_back({.controls = tables_.back().get(), .tls = tls_});
  Tell({.kind = shard::MailKind::kTables, .tables = &told_.back()});
}

void EngineModel::BeginDrain() {
  if (state_ != State::kRunning) return;
  scene_.world.Happens("engine drains");
  state_ = State::kEnding;
  Tell({.kind = shard::MailKind::kDrain});
}

void EngineModel::Abort() {
  if (state_ != State::kEnding) return;
  scene_.world.Happens("engine aborts");
  Tell({.kind = shard::MailKind::kAbort});
}

// -------------------------------------------------------------------------------------------------
// Ending.

void EngineModel::Crash(bool power) {
  if (state_ == State::kDown) return;
  scene_.world.Happens("engine crashes", power);
  for (Node& node : nodes_) node.io->Crash();
  if (power) {
    disk_.Crash(scene_.world.random());
  } else {
    disk_.Kill();
  }
  orderly_ = false;
  scene_.ledger.unclean_life = scene_.ledger.life;
  state_ = State::kDown;
  Bury();
}

void EngineModel::Bury() {
  handshaker_.Drop();
  for (Node& node : nodes_) node.shard.reset();
  for (Node& node : nodes_) {
    if (node.io != nullptr) buried_.push_back(std::move(node.io));
  }
  nodes_.clear();
  calls_.clear();
}

bool EngineModel::Empty() const {
  if (state_ != State::kRunning) return false;
  return std::all_of(nodes_.begin(), nodes_.end(), [](const Node& node) {
    const delivery::Home& home = node.shard->home();
    return home.messages() == 0 && !home.taking_up() && node.shard->intake().sessions() == 0 &&
           node.shard->dispatcher().connections() == 0;
  });
}

// What is of the shards together: their slabs do not know it.
std::vector<EngineModel::Holding> EngineModel::Holdings() const {
  std::vector<Holding> holdings;
  uint64_t at_home = 0;
  uint64_t at_destinations = 0;
  for (uint32_t number = 0; number < shards(); ++number) {
    const Node& node = nodes_[number];
    if (node.shard == nullptr) continue;
    shard::Shard& shard = *node.shard;
    const shard::Shard::Options& options = node.options;
    const uint64_t sessions = options.intake.sessions_max + intake::kRefusedSessionsMax;
    const auto add = [&](const char* what, uint64_t held, uint64_t most) {
      holdings.push_back({absl::StrCat("shard ", number, ", ", what), held, most});
    };
    add("messages", shard.home().messages(), options.home.messages_max);
    add("parcels", shard.home().parcels(), options.home.parcels_max);
    add("body blocks", shard.home().blocks_taken(), options.home.body_blocks);
    add("sessions", shard.intake().sessions(), sessions);
    add("connections", shard.dispatcher().connections(), options.dispatcher.connections_max);
    add("destinations", shard.dispatcher().destinations(), options.dispatcher.destinations_max);
    // A connection has one; so has a session, and one that was accepted is refused at once.
    add("sockets", node.io->sockets(), sessions + options.dispatcher.connections_max + 2);
    // One receives and one sends for each, and some more for the log, bodies and the listener.
    add("operations", node.io->operations(),
        2 * (sessions + options.dispatcher.connections_max) + options.home.body_blocks + 8);
    at_home += shard.home().parcels();
    at_destinations += shard.dispatcher().parcels();
  }
  holdings.push_back({"parcels at destinations", at_destinations, at_home});
  const auto add_cap = [&](const char* what, const delivery::EngineCap& cap, uint32_t most) {
    if (most > 0) holdings.push_back({what, cap.taken(), most});
  };
  add_cap("the engine's connections", caps_->connections, ConnectionsCap());
  add_cap("the engine's handshakes", caps_->handshakes, HandshakesCap());
  return holdings;
}

std::string EngineModel::Leftovers() const {
  std::string text;
  for (uint32_t number = 0; number < shards(); ++number) {
    shard::Shard& shard = *nodes_[number].shard;
    const auto say = [&](const char* what, uint64_t count) {
      if (static_cast<int64_t>(count) > 0)
        absl::StrAppend(&text, "shard ", number, ": ", count, " ", what, "; ");
    };
    say("messages", shard.home().messages());
    say("parcels at home", shard.home().parcels());
    say("body blocks", shard.home().blocks_taken());
    say("sessions", shard.intake().sessions());
    say("connections", shard.dispatcher().connections());
    say("parcels at destinations", shard.dispatcher().parcels());
    say("destinations", shard.dispatcher().destinations());
    say("operations", nodes_[number].io->operations() - 1);  // The accept.
    say("sockets", nodes_[number].io->sockets() - 1);        // The listener.
  }
  const uint32_t counted = caps_->connections.taken() + caps_->handshakes.taken();
  if (counted > 0) absl::StrAppend(&text, "the engine's caps: ", counted, " taken; ");
  return text;
}

const policy::Controls& EngineModel::InForce(const std::string& domain) const {
  const uint32_t owner = shard::Shard::OwnerOf(domain, shards());
  return tables_[post_->table_version(owner).load() - 1]->Lookup(domain);
}

const SocketAddress* EngineModel::DrawListener() {
  if (state_ != State::kRunning) return nullptr;
  return &nodes_[scene_.world.random().Below(nodes_.size())].listener;
}

// -------------------------------------------------------------------------------------------------
// Calls.

CallObserver::Answer EngineModel::OnCalling(uint32_t shard, int32_t descriptor,
                                            const IpAddress& from, const SocketAddress& to) {
  const auto host = hosts_.find(to.ToString());
  CHECK(host != hosts_.end());
  const uint64_t call = next_call_++;
  calls_[{shard, descriptor}] = call;
  called_[call] = host->second;
  scene_.limits.OnCalling(call, host->second->domain(), {.address = to.ip, .source = from});
  scene_.policy.OnCalling(call, host->second->domain());
  if (!scene_.faults_on) return Answer::kTaken;
  if (scene_.world.Chance(scene_.options.faults.hang_call)) return Answer::kHangs;
  if (scene_.world.Chance(scene_.options.faults.refuse_call)) return Answer::kRefused;
  return Answer::kTaken;
}

void EngineModel::OnConnected(uint32_t shard, int32_t descriptor, Connection& connection) {
  const uint64_t call = calls_.at({shard, descriptor});
  called_.at(call)->ExpectCall(call);
}

void EngineModel::OnClosed(uint32_t shard, int32_t descriptor) {
  const auto found = calls_.find({shard, descriptor});
  if (found == calls_.end()) return;  // Opened, and never called.
  scene_.limits.OnClosed(found->second);
  calls_.erase(found);
}

}  // namespace sluice::sim
