#include "tests/sim/sim_handshaker.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

void SimHandshaker::Begin(uint32_t shards, std::function<void(uint32_t)> wake) {
  ++life_;
  wake_ = std::move(wake);
  done_.clear();
  done_.resize(shards);
}

bool SimHandshaker::Submit(std::unique_ptr<tls::HandshakeJob> job) {
  World& world = scene_.world;
  const Faults& faults = scene_.options.faults;
  const bool troubled = scene_.faults_on;
  world.Happens("handshake", job->shard, job->input.size());
  if (troubled && world.Chance(faults.handshakes_refused * 0.3)) return false;
  Duration delay = world.Delay(microseconds(20), milliseconds(20));
  if (troubled && world.Chance(faults.handshakes_slow)) {
    delay = world.Delay(milliseconds(10), seconds(90));
  }
  world.After(delay, [this, job = std::move(job), life = life_]() mutable {
    if (life != life_) return;
    Work(*job);
    const uint32_t shard = job->shard;
    scene_.world.Happens("handshake's flight", shard, static_cast<uint64_t>(job->step));
    done_[shard].push_back(std::move(job));
    wake_(shard);
  });
  return true;
}

void SimHandshaker::Poll(uint32_t shard, std::vector<std::unique_ptr<tls::HandshakeJob>>& done) {
  for (std::unique_ptr<tls::HandshakeJob>& job : done_[shard]) done.push_back(std::move(job));
  done_[shard].clear();
}

void SimHandshaker::Work(tls::HandshakeJob& job) {
  World& world = scene_.world;
  const bool no_room =
      scene_.faults_on && world.Chance(scene_.options.faults.handshakes_refused * 0.1);
  if (world.instant() >= job.deadline || no_room) {
    job.no_room = true;
    job.step = tls::Step::kFailed;
    return;
  }
  const bool client = job.plan != nullptr;
  if (job.stream == nullptr) {
    const uint64_t nonce = world.random().Next();
    job.stream = client ? ToyStream::Client(nonce, job.plan->server_name)
                        : ToyStream::Server(nonce, {.names = {"relay.test"}}, world.Chance(0.2));
  }
  job.stream->Feed(job.input);
  job.input.clear();
  job.step = job.stream->Handshake();
  if (job.step != tls::Step::kEstablished || !client) return;
  job.verdict = Judge(job.stream->facts(), job.plan->references);
}

tls::Verdict SimHandshaker::Judge(const tls::StreamFacts& facts,
                                  const tls::References& references) const {
  if (facts.chain.empty()) return {.detail = "no certificate"};
  const auto& shown = facts.chain.front();
  const std::optional<ToyCertificate> certificate = ToyCertificate::Parse(
      absl::string_view(reinterpret_cast<const char*>(shown.data()), shown.size()));
  if (!certificate) return {.fault = tls::CertificateFault::kMalformed, .detail = "unreadable"};
  if (!certificate->trusted) return {.detail = "nobody we know"};
  if (certificate->expired) {
    return {.fault = tls::CertificateFault::kExpired, .detail = "has expired"};
  }
  tls::Verdict verdict = {.fault = tls::CertificateFault::kNone, .subject = "CN=toy"};
  const auto any = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return certificate->Names(name); });
  };
  if (any(references.route_hosts)) verdict.name = tls::NameKind::kRouteHost;
  if (any(references.mx_hosts)) verdict.name = tls::NameKind::kMxHost;
  if (certificate->Names(references.domain)) verdict.name = tls::NameKind::kDomain;
  return verdict;
}

}  // namespace sluice::sim
