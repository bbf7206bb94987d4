#include "tools/load/load.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/io/clock.h"
#include "tools/process.h"

namespace sluice::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTurnMax = milliseconds(100);  // How long a stop signal may go unseen.
constexpr Duration kInterval = seconds(1);
constexpr Duration kStopGrace = seconds(5);  // For transactions that are under way.

// Another one for each run on any machine, as far as the clock tells them apart.
uint32_t RunNumber(WallTime now) {
  const int64_t at = now.time_since_epoch().count();
  return static_cast<uint32_t>(
      XXH3_64bits_withSeed(&at, sizeof(at), static_cast<uint64_t>(getpid())));
}

}  // namespace

Load::Load(const LoadOptions& options, io::Io& io, Now now)
    : options_(options),
      io_(io),
      now_(now),
      run_(RunNumber(now.wall)),
      maker_(
          {.sizes_bytes = options.sizes.sizes_bytes(), .sender = options.sender, .now = now.wall}),
      work_({.messages = options.messages,
             .rate_per_s = options.rate_per_s,
             .recipients_per_message = options.recipients_per_message,
             .seed = options.seed},
            options.sizes, options.domains, now.instant),
      timers_(now.instant),
      connections_(static_cast<size_t>(std::min<uint64_t>(options.connections, options.messages))),
      started_at_(now.instant),
      interval_at_(now.instant + kInterval) {
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    Connection& connection = connections_[i];
    connection.handle = {i, 1};
    connection.deadline.owner = &connection;
    connection.open_from = now.instant;
    away_.PushBack(connection);
  }
}

absl::Status Load::Run() {
  const Duration cpu_before = CpuTime();
  while (!Finished()) Turn();
  results_.cpu = CpuTime() - cpu_before;
  return Verdict();
}

bool Load::Finished() const {
  return (stopping_ || work_.done()) && away_.size() == connections_.size();
}

absl::Status Load::Verdict() const {
  if (!failure_.ok()) return failure_;
  const std::string came_to =
      absl::StrCat(results_.accepted, " messages of ", options_.messages, " were accepted");
  if (timed_out_) {
    const std::string tls =
        last_tls_fault_.empty() ? "" : absl::StrCat("; TLS failed last with: ", last_tls_fault_);
    return absl::DeadlineExceededError(absl::StrCat("timeout: ", came_to, tls));
  }
  if (stopping_) return absl::CancelledError(absl::StrCat("stopped by a signal: ", came_to));
  if (results_.given_up > 0 && !options_.allow_refusals) {
    return absl::FailedPreconditionError(
        absl::StrCat(results_.given_up, " recipients were refused; ", came_to));
  }
  return absl::OkStatus();
}

void Load::Turn() {
  OpenAway();
  ServeReady();
  io_.Wait(TurnEnd(), completions_);
  now_ = io::ReadClock();
  // What was sent is known to be before what came in answer.
  for (const io::Completion& completion : completions_) {
    if (static_cast<Tag>(completion.op.tag) == Tag::kSend) OnCompletion(completion);
  }
  for (const io::Completion& completion : completions_) {
    if (static_cast<Tag>(completion.op.tag) != Tag::kSend) OnCompletion(completion);
  }
  while (Timer* timer = timers_.PopDue(now_.instant)) {
    OnDeadline(*static_cast<Connection*>(timer->owner));
  }
  if (absl::Status written = ledger_.Flush(); !written.ok() && failure_.ok()) {
    failure_ = std::move(written);
    Stop();
  }
  OnInterval();
}

Instant Load::TurnEnd() const {
  Instant end = std::min(timers_.NextDue(), now_.instant + kTurnMax);
  if (stopping_) return end;
  if (!ready_.empty()) end = std::min(end, work_.NextDue());
  if (!away_.empty() && work_.unassigned() > 0) end = std::min(end, away_.Front()->open_from);
  return end;
}

void Load::OnInterval() {
  if (StopWanted()) Stop();
  if (now_.instant - started_at_ >= options_.timeout && !stopping_ && !work_.done()) {
    timed_out_ = true;
    Stop();
  }
  if (work_.done() && abort_at_ == kNever) abort_at_ = now_.instant + kStopGrace;
  if (now_.instant >= abort_at_) {
    for (Connection& connection : connections_) {
      if (connection.phase == Phase::kConnecting) BeginClose(connection);
      if (connection.phase != Phase::kOpen) continue;
      connection.session.Abort();
      Drive(connection);
    }
  }
  if (now_.instant < interval_at_) return;
  interval_at_ = now_.instant + kInterval;
  if (options_.progress) {
    std::fprintf(stderr, "%lu messages (+%lu), %lu in doubt, %lu sessions lost\n",
                 results_.accepted, results_.accepted - accepted_at_interval_, results_.in_doubt,
                 results_.sessions_lost);
  }
  accepted_at_interval_ = results_.accepted;
}

void Load::Stop() {
  if (stopping_) return;
  stopping_ = true;
  abort_at_ = std::min(abort_at_, now_.instant + kStopGrace);
}

}  // namespace sluice::tools
