#include "engine/shard/shard.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "engine/delivery/tags.h"

namespace sluice::shard {
namespace {

using delivery::Parcel;
using delivery::Tag;
using delivery::TimerKind;

// Pieces of mail and timers taken in one turn: what is over is the next turn's, which follows at
// once.
constexpr int kMailPerTurnMax = 4096;
constexpr int kTimersPerTurnMax = 4096;

Shard::Options Complete(Shard::Options options) {
  options.home.shard = options.number;
  options.home.hostname = options.hostname;
  options.home.alert_address = options.alert_address;
  options.home.sync = options.sync;
  options.home.bounce_profiles = options.bounce_profiles;
  options.dispatcher.shard = options.number;
  options.dispatcher.hostname = options.hostname;
  options.dispatcher.bounce_profile = options.bounce_profiles.by_default;
  options.log.number = static_cast<uint16_t>(options.number);
  options.intake.hostname = options.hostname;
  options.intake.shard = options.number;
  return options;
}

}  // namespace

Shard::Shard(Options options, const World& world, delivery::Dispatcher::Tables tables, Now now)
    : options_(Complete(std::move(options))),
      world_(world),
      random_(options_.random_seed),
      timers_(now.instant),
      tables_(std::move(tables)),
      unsent_(world.post->shards()) {}

absl::Status Shard::Start(Inheritance inheritance, Now now) {
  std::vector<spool::Log::LiveSegment> segments;
  for (const spool::StockSegment& segment : inheritance.segments) segments.push_back(segment.live);
  log_ = std::make_unique<spool::Log>(options_.log, *world_.disk, std::move(segments),
                                      inheritance.next_sequence);
  windows_ = std::make_unique<delivery::WindowKeeper>(
      options_.windows, *log_, std::move(inheritance.windows), inheritance.greatest_window, now);
  absl::Status begun = BeginLog(inheritance, now);
  if (!begun.ok()) return begun;
  delivery::Home::Options home = options_.home;
  home.sources = world_.sources;
  home.active = world_.active;
  home_ =
      std::make_unique<delivery::Home>(home, *world_.io, *log_, timers_, random_, *world_.events);
  home_->UseControls(*tables_.controls);
  home_->TakeUp(std::make_unique<spool::Takeover>(*world_.disk, std::move(inheritance.segments),
                                                  std::move(inheritance.changes)),
                inheritance.greatest_id);
  delivery::Dispatcher::Options dispatcher = options_.dispatcher;
  dispatcher.sources = world_.sources;
  dispatcher.caps = world_.caps;
  dispatcher.active = world_.active;
  dispatcher.tagger = world_.tagger;
  dispatcher.windows = windows_.get();
  dispatcher_ = std::make_unique<delivery::Dispatcher>(
      dispatcher, *world_.io, *world_.resolver, world_.handshaker, timers_, random_, tables_);
  intake_ = std::make_unique<intake::Intake>(options_.intake, *world_.io, *home_, timers_,
                                             world_.handshaker);
  intake_->UseTls(tables_.tls);
  intake_->Start(now);
  return absl::OkStatus();
}

// Nothing is given back before all messages have been taken up. On a full disk that leaves no
// segment to begin with: then what lives is looked for first, and what does not is given back.
absl::Status Shard::BeginLog(const Inheritance& inheritance, Now now) {
  log_->Hold();
  absl::Status begun = log_->Begin(now.wall);
  if (!absl::IsResourceExhausted(begun)) return begun;
  spool::Takeover living(*world_.disk, inheritance.segments, inheritance.changes);
  absl::flat_hash_map<uint64_t, uint64_t> bytes;  // Of living messages, by segment.
  while (true) {
    const absl::StatusOr<const spool::TakenMessage*> message = living.Next();
    if (!message.ok()) return message.status();
    if (*message == nullptr) break;
    bytes[(*message)->first_segment.value] += (*message)->log_bytes;
  }
  for (const auto& [segment, of] : bytes) log_->Lives({segment}, of);
  log_->LetGo();
  begun = log_->Begin(now.wall);
  log_->Hold();
  // Who takes the messages up says it again.
  for (const auto& [segment, of] : bytes) log_->Died({segment}, of);
  return begun;
}

Instant Shard::Step(Now now, const std::vector<io::Completion>& completions) {
  for (const io::Completion& completion : completions) Dispatch(completion, now);
  TakeMail(now);
  TakeRoutes(now);
  TakeHandshakes(now);
  ExpireTimers(now);
  SendParcelsOut(now);
  dispatcher_->Turn(now);
  AskForBodies(now);
  GiveBodies(now);
  SendParcelsHome(now);
  SendAlerts(now);
  windows_->Turn(now);
  home_->Turn(now);
  intake_->Turn();
  GiveBodies(now);
  KeepPromises(now);
  SendParcelsOut(now);  // Of the promises just kept.
  home_->WriteBatch();
  FlushMail();

  if (!told_taken_up_ && !home_->taking_up()) {
    told_taken_up_ = true;
    world_.post->taken_up(options_.number)
        .store(static_cast<int64_t>(home_->taken_up()), std::memory_order_release);
  }
  if (home_->log_failed()) {
    world_.post->failed(options_.number).store(true, std::memory_order_release);
    if (!draining_) BeginDrain(now);
  }
  if (draining_) world_.post->SetAtRest(options_.number, AtRest());
  const bool busy = dispatcher_->busy() || home_->busy() || windows_->busy() || unsent_any_;
  return busy ? now.instant : timers_.NextDue();
}

void Shard::Dispatch(const io::Completion& completion, Now now) {
  switch (static_cast<Tag>(completion.op.tag)) {
    case Tag::kLogStep:
    case Tag::kBodyRead:
    case Tag::kRecordRead:
    case Tag::kMoveRead:
      return home_->OnCompletion(completion, now);
    case Tag::kConnect:
    case Tag::kReceive:
    case Tag::kSend:
    case Tag::kStreamRead:
      return dispatcher_->OnCompletion(completion, now);
    case Tag::kIntakeAccept:
    case Tag::kIntakeReceive:
    case Tag::kIntakeSend:
      return intake_->OnCompletion(completion, now);
  }
  CHECK(completion.op.tag <= static_cast<uint8_t>(Tag::kIntakeSend));
}

void Shard::ExpireTimers(Now now) {
  for (int i = 0; i < kTimersPerTurnMax; ++i) {
    Timer* timer = timers_.PopDue(now.instant);
    if (timer == nullptr) return;
    switch (static_cast<TimerKind>(timer->kind)) {
      case TimerKind::kParcelDue:
        home_->OnTimer(*timer, now);
        break;
      case TimerKind::kParcelExpiry:
      case TimerKind::kLane:
      case TimerKind::kDestination:
      case TimerKind::kSources:
      case TimerKind::kConnection:
        dispatcher_->OnTimer(*timer, now);
        break;
      case TimerKind::kIntake:
        intake_->OnTimer(*timer, now);
        break;
    }
  }
}

void Shard::TakeRoutes(Now now) {
  world_.resolver->Poll(options_.number, routes_);
  for (dns::RouteAnswer& route : routes_) dispatcher_->OnRoute(std::move(route), now);
  routes_.clear();
}

// Those of a side that has ended are dropped there.
void Shard::TakeHandshakes(Now now) {
  if (world_.handshaker == nullptr) return;
  world_.handshaker->Poll(options_.number, handshakes_);
  for (std::unique_ptr<tls::HandshakeJob>& job : handshakes_) {
    if (static_cast<Tag>(job->side) == Tag::kConnect) {
      dispatcher_->OnHandshake(std::move(job), now);
    } else {
      intake_->OnHandshake(std::move(job), now);
    }
  }
  handshakes_.clear();
}

// -------------------------------------------------------------------------------------------------
// Mail.

uint32_t Shard::OwnerOf(absl::string_view destination, uint32_t shards) {
  return static_cast<uint32_t>(HashDomain(destination) % shards);
}

std::vector<Shard::Inheritance> Shard::Divide(spool::Stock stock, uint32_t shards) {
  std::vector<Inheritance> inheritances(shards);
  for (spool::StockSegment& segment : stock.segments) {
    inheritances[segment.live.keeper % shards].segments.push_back(std::move(segment));
  }
  for (spool::RecoveredWindow& window : stock.windows) {
    const uint32_t owner = OwnerOf(window.record.key.destination, shards);
    const uint32_t keeper = window.keeper % shards;
    if (keeper != owner) {
      inheritances[keeper].windows.push_back({.record = window.record, .segment = window.segment});
      window.segment = {};
    }
    inheritances[owner].windows.push_back(
        {.record = std::move(window.record), .segment = window.segment, .owned = true});
  }
  for (Inheritance& inheritance : inheritances) {
    inheritance.changes = stock.changes;
    inheritance.next_sequence = stock.next_sequence;
    inheritance.greatest_id = stock.greatest_id;
    inheritance.greatest_window = stock.greatest_window;
  }
  return inheritances;
}

void Shard::TakeMail(Now now) {
  Post& post = *world_.post;
  for (uint32_t from = 0; from <= post.shards(); ++from) {
    ShardMailbox& box = post.Box(from, options_.number);
    Mail mail;
    for (int i = 0; i < kMailPerTurnMax && box.Take(mail); ++i) OnMail(mail, now);
    box.Acknowledge();
  }
}

void Shard::OnMail(const Mail& mail, Now now) {
  switch (mail.kind) {
    case MailKind::kParcelOut:
      return dispatcher_->Take(*mail.parcel, now);
    case MailKind::kParcelHome:
      return home_->OnReturned(*mail.parcel, now);
    case MailKind::kBodyWanted:
      return home_->WantBody(*mail.parcel);
    case MailKind::kBodyDecided:
      return dispatcher_->OnBody(*mail.parcel, now);
    case MailKind::kTables:
      tables_ = *mail.tables;
      home_->UseControls(*tables_.controls);
      dispatcher_->UseTables(tables_);
      intake_->UseTls(tables_.tls);
      world_.post->table_version(options_.number)
          .store(tables_.controls->version(), std::memory_order_release);
      return;
    case MailKind::kTask:
      mail.task->run(*this, now);
      mail.task->done.store(true, std::memory_order_release);
      return;
    case MailKind::kDrain:
      return BeginDrain(now);
    case MailKind::kAbort:
      BeginDrain(now);
      intake_->CutOff(now);
      return dispatcher_->AbortAll(now);
  }
}

void Shard::SendParcelsOut(Now now) {
  for (int i = 0; i < kMailPerTurnMax; ++i) {
    Parcel* parcel = home_->TakeOutgoing();
    if (parcel == nullptr) return;
    home_->LendAhead(*parcel);
    const uint32_t owner = OwnerOf(parcel->destination(), world_.post->shards());
    if (owner == options_.number) {
      dispatcher_->Take(*parcel, now);
    } else {
      Send(owner, {.kind = MailKind::kParcelOut, .parcel = parcel});
    }
  }
}

void Shard::SendParcelsHome(Now now) {
  while (Parcel* parcel = dispatcher_->TakeReturned()) {
    if (parcel->home == options_.number) {
      home_->OnReturned(*parcel, now);
    } else {
      Send(parcel->home, {.kind = MailKind::kParcelHome, .parcel = parcel});
    }
  }
}

void Shard::AskForBodies(Now now) {
  while (Parcel* parcel = dispatcher_->TakeBodyWanted()) {
    if (parcel->body_state == delivery::BodyState::kLent) {
      dispatcher_->OnBody(*parcel, now);
    } else if (parcel->home == options_.number) {
      home_->WantBody(*parcel);
    } else {
      Send(parcel->home, {.kind = MailKind::kBodyWanted, .parcel = parcel});
    }
  }
}

void Shard::GiveBodies(Now now) {
  while (Parcel* parcel = home_->TakeBody()) {
    const uint32_t owner = OwnerOf(parcel->destination(), world_.post->shards());
    if (owner == options_.number) {
      dispatcher_->OnBody(*parcel, now);
    } else {
      Send(owner, {.kind = MailKind::kBodyDecided, .parcel = parcel});
    }
  }
}

void Shard::SendAlerts(Now now) {
  dispatcher_->TakeAlerts(alerts_);
  for (const delivery::TlsAlert& alert : alerts_) home_->SendAlert(alert, now);
  alerts_.clear();
}

void Shard::KeepPromises(Now now) {
  home_->TakePromises(promises_);
  if (promises_.empty()) return;
  intake_->OnPromises(promises_, now);
  promises_.clear();
}

// Mail to one shard stays in order: what finds no room waits here, and all that comes after it.
void Shard::Send(uint32_t to, const Mail& mail) {
  CHECK(to != options_.number);
  std::deque<Mail>& unsent = unsent_[to];
  if (unsent.empty() && world_.post->Box(options_.number, to).Put(mail)) return;
  unsent.push_back(mail);
}

void Shard::FlushMail() {
  unsent_any_ = false;
  for (uint32_t to = 0; to < unsent_.size(); ++to) {
    if (to == options_.number) continue;
    ShardMailbox& box = world_.post->Box(options_.number, to);
    std::deque<Mail>& unsent = unsent_[to];
    while (!unsent.empty() && box.Put(unsent.front())) unsent.pop_front();
    unsent_any_ |= !unsent.empty();
    if (box.Publish()) world_.post->Notify(to);
  }
}

// -------------------------------------------------------------------------------------------------
// The end.

void Shard::BeginDrain(Now now) {
  if (draining_) return;
  draining_ = true;
  intake_->BeginDrain(now);
  home_->BeginDrain();
  dispatcher_->BeginDrain(now);
}

bool Shard::AtRest() const {
  return draining_ && intake_->Drained() && dispatcher_->AtRest() && home_->AtRest() &&
         windows_->AtRest() && !unsent_any_;
}

}  // namespace sluice::shard
