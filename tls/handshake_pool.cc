#include "tls/handshake_pool.h"

#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/thread.h"

namespace sluice::tls {

HandshakePool::HandshakePool(Options options)
    : options_(std::move(options)), done_(options_.wakers.size()) {
  CHECK(options_.threads > 0);
  for (uint32_t i = 0; i < options_.threads; ++i) {
    threads_.push_back(StartThread([this] { Run(); }));
  }
}

HandshakePool::~HandshakePool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  queued_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool HandshakePool::Submit(std::unique_ptr<HandshakeJob> job) {
  {
    const std::lock_guard lock(mutex_);
    Queue& queue = queues_[job->plan == nullptr ? kServers : kClients];
    if (queue.size() >= options_.jobs_max) return false;
    queue.push_back(std::move(job));
  }
  queued_.notify_one();
  return true;
}

void HandshakePool::Poll(uint32_t shard, std::vector<std::unique_ptr<HandshakeJob>>& done) {
  const std::lock_guard lock(mutex_);
  std::vector<std::unique_ptr<HandshakeJob>>& mine = done_[shard];
  for (std::unique_ptr<HandshakeJob>& job : mine) done.push_back(std::move(job));
  mine.clear();
}

void HandshakePool::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    queued_.wait(lock, [this] { return ending_ || AnyQueued(); });
    if (ending_) break;
    std::unique_ptr<HandshakeJob> job = TakeQueued();
    lock.unlock();
    Work(*job);
    const uint32_t shard = job->shard;
    lock.lock();
    const bool first = done_[shard].empty();
    done_[shard].push_back(std::move(job));
    if (!first || ending_) continue;  // The shard has been woken for the ones before.
    lock.unlock();
    options_.wakers[shard]();
    lock.lock();
  }
  lock.unlock();
  EndThread();
}

bool HandshakePool::AnyQueued() const {
  return !queues_[kClients].empty() || !queues_[kServers].empty();
}

// In turn, while both have any.
std::unique_ptr<HandshakeJob> HandshakePool::TakeQueued() {
  const size_t other = next_ == kClients ? kServers : kClients;
  Queue& queue = queues_[queues_[next_].empty() ? other : next_];
  next_ = other;
  std::unique_ptr<HandshakeJob> job = std::move(queue.front());
  queue.pop_front();
  return job;
}

void HandshakePool::Work(HandshakeJob& job) {
  // It has waited here for too long, which is no fault of the peer: a peer that is slow itself has
  // its connection's timer.
  if (options_.now() >= job.deadline) {
    job.no_room = true;
    job.step = Step::kFailed;
    return;
  }
  const Duration before = options_.thread_time();
  if (job.stream == nullptr) Begin(job);
  if (job.stream == nullptr) {
    job.no_room = true;
    job.step = Step::kFailed;
    return;
  }
  job.stream->Feed(job.input);
  job.input.clear();
  job.step = job.stream->Handshake();
  if (job.step == Step::kEstablished && job.plan != nullptr) JudgePeer(job);
  job.spent += options_.thread_time() - before;
  if (job.step == Step::kNeedsInput && job.spent > options_.spent_max) {
    job.timed_out = true;
    job.step = Step::kFailed;
  }
}

void HandshakePool::Begin(HandshakeJob& job) {
  if (job.plan == nullptr) {
    job.stream = Stream::Server(job.server);
    return;
  }
  CachedSession cached;
  if (job.plan->resumes) cached = sessions_.Take(job.plan->session_key, options_.wall());
  job.offered_session = cached.session != nullptr;
  job.verdict = std::move(cached.verdict);  // Stands if the session is resumed.
  job.stream = Stream::Client(job.plan->context, job.plan->server_name, std::move(cached.session));
}

void HandshakePool::JudgePeer(HandshakeJob& job) {
  const StreamFacts& facts = job.stream->facts();
  if (facts.resumed) return;
  const ClientPlan& plan = *job.plan;
  job.verdict = Verdict{.detail = "no file of trusted certificates is configured"};
  if (plan.trust == nullptr) return;
  const WallTime now = options_.wall();
  const VerdictCache::Key key =
      VerdictCache::KeyOf(facts.chain, plan.references, plan.judging, plan.trust->version());
  if (std::optional<Verdict> known = verdicts_.Find(key, now)) {
    job.verdict = *std::move(known);
    return;
  }
  job.verdict = Judge(facts.chain, plan.references, *plan.trust, now, plan.judging);
  verdicts_.Keep(key, job.verdict, now);
}

}  // namespace sluice::tls
