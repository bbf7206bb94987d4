// Handshakes on threads: flights, verdicts, bounds, ends.

#include "tls/handshake_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "tests/tls/stream_words.h"

namespace sluice::tls {
namespace {

constexpr Instant kStart{};

class HandshakePoolTest : public testing::Test {
 protected:
  HandshakePoolTest()
      : root_(Make(CaRecipe("root"))),
        leaf_(Make(LeafRecipe("example.net"), &root_)),
        trust_(std::make_shared<const TrustStore>(Trusting({&root_}))) {}

  void Start(HandshakePool::Options options = {}) {
    options.now = [this] {
      const std::lock_guard passing(gate_);
      return Instant(Duration(now_.load()));
    };
    options.wall = [] { return kNow; };
    options.thread_time = [this] { return Duration(thread_time_.fetch_add(cost_.load())); };
    options.wakers = {[this] { Wake(); }, [this] { Wake(); }};
    pool_ = std::make_unique<HandshakePool>(std::move(options));
  }

  void Wake() {
    const std::lock_guard lock(mutex_);
    ++wakes_;
    woken_.notify_all();
  }

  // A flight of an injector, from which nothing has come.
  std::unique_ptr<HandshakeJob> ServerJob() {
    auto job = std::make_unique<HandshakeJob>();
    job->shard = 1;
    job->server = ServerContextOf(leaf_);
    job->deadline = kNever;
    return job;
  }

  // All that is done for shard 1, once it is so many: whether each is of our own connections.
  std::vector<bool> AwaitClients(size_t count) {
    std::vector<std::unique_ptr<HandshakeJob>> done;
    std::unique_lock lock(mutex_);
    while (true) {
      pool_->Poll(1, done);
      if (done.size() >= count) break;
      const int seen = wakes_;
      woken_.wait(lock, [&] { return wakes_ != seen; });
    }
    std::vector<bool> clients;
    for (const auto& job : done) clients.push_back(job->plan != nullptr);
    return clients;
  }

  // The next job that is done for shard 1.
  std::unique_ptr<HandshakeJob> Await() {
    std::vector<std::unique_ptr<HandshakeJob>> done;
    std::unique_lock lock(mutex_);
    while (true) {
      pool_->Poll(1, done);
      if (!done.empty()) break;
      const int seen = wakes_;
      woken_.wait(lock, [&] { return wakes_ != seen; });
    }
    EXPECT_EQ(done.size(), 1u);
    return std::move(done[0]);
  }

  std::unique_ptr<HandshakeJob> Job(absl::string_view domain) {
    auto plan = std::make_shared<ClientPlan>();
    plan->context = client_;
    plan->references.domain = std::string(domain);
    plan->trust = trust_;
    plan->session_key = "key of " + std::string(domain);
    auto job = std::make_unique<HandshakeJob>();
    job->shard = 1;
    job->connection = {7, 3};
    job->plan = std::move(plan);
    job->deadline = kNever;
    return job;
  }

  // All flights against a server of ours, in this thread.
  std::unique_ptr<HandshakeJob> Shake(std::unique_ptr<HandshakeJob> job) {
    server_ = Stream::Server(ServerContextOf(leaf_));
    Step step = Step::kNeedsInput;
    while (true) {
      EXPECT_TRUE(pool_->Submit(std::move(job)));
      job = Await();
      if (job->step != Step::kNeedsInput) return job;
      server_->Feed(Taken(*job->stream));
      if (step == Step::kNeedsInput) step = server_->Handshake();
      job->input = Taken(*server_);
    }
  }

  const Made root_;
  const Made leaf_;
  const std::shared_ptr<const TrustStore> trust_;
  const std::shared_ptr<const Context> client_ = ClientContext();
  std::unique_ptr<Stream> server_;
  std::atomic<int64_t> now_{0};
  std::atomic<int64_t> thread_time_{0};
  std::atomic<int64_t> cost_{0};  // Of each look at the thread's time.
  std::mutex gate_;               // Whoever holds it holds up the pool's threads.
  std::mutex mutex_;
  std::condition_variable woken_;
  int wakes_ = 0;
  std::unique_ptr<HandshakePool> pool_;
};

TEST_F(HandshakePoolTest, EstablishesAndJudges) {
  Start();
  std::unique_ptr<HandshakeJob> job = Shake(Job("example.net"));
  EXPECT_EQ(job->step, Step::kEstablished);
  EXPECT_TRUE(job->verdict.MeetsVerify()) << job->verdict.detail;
  EXPECT_EQ(job->connection, (Handle{7, 3}));
  job = Shake(Job("other.example"));
  EXPECT_EQ(job->step, Step::kEstablished);
  EXPECT_FALSE(job->verdict.MeetsVerify());
  EXPECT_EQ(job->verdict.Finding(), policy::CertificateFinding::kName);
}

TEST_F(HandshakePoolTest, WithoutTrustNobodyIsVerified) {
  Start();
  std::unique_ptr<HandshakeJob> job = Job("example.net");
  auto plan = std::make_shared<ClientPlan>(*job->plan);
  plan->trust = nullptr;
  job->plan = plan;
  job = Shake(std::move(job));
  EXPECT_EQ(job->step, Step::kEstablished);
  EXPECT_EQ(job->verdict.Finding(), policy::CertificateFinding::kUntrusted);
}

TEST_F(HandshakePoolTest, DoesNothingAfterTheDeadline) {
  Start();
  std::unique_ptr<HandshakeJob> job = Job("example.net");
  job->deadline = kStart + std::chrono::seconds(30);
  now_ = std::chrono::nanoseconds(std::chrono::seconds(30)).count();
  ASSERT_TRUE(pool_->Submit(std::move(job)));
  job = Await();
  EXPECT_EQ(job->step, Step::kFailed);
  EXPECT_TRUE(job->no_room);  // Whoever let it wait for so long, it was not the peer.
  EXPECT_FALSE(job->timed_out);
  EXPECT_EQ(job->stream, nullptr);
}

// Each flight looks at the thread's time twice, so here each costs 0.6 s: the second is too much.
TEST_F(HandshakePoolTest, PeerMayCostSoMuchProcessorTime) {
  Start();
  cost_ = std::chrono::nanoseconds(std::chrono::milliseconds(600)).count();
  std::unique_ptr<HandshakeJob> job = Job("example.net");
  ASSERT_TRUE(pool_->Submit(std::move(job)));
  job = Await();
  EXPECT_EQ(job->step, Step::kNeedsInput);
  job->input = std::string("\x16\x03\x03", 3);  // The front of a record.
  ASSERT_TRUE(pool_->Submit(std::move(job)));
  job = Await();
  EXPECT_EQ(job->step, Step::kFailed);
  EXPECT_TRUE(job->timed_out);
}

TEST_F(HandshakePoolTest, QueueIsBounded) {
  Start({.jobs_max = 0});
  EXPECT_FALSE(pool_->Submit(Job("example.net")));
}

// The thread may have one flight in hand when the gate falls, and one of the flood has its turn.
TEST_F(HandshakePoolTest, FloodOfInjectorsDoesNotDelayDelivery) {
  Start();
  {
    const std::lock_guard closed(gate_);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(pool_->Submit(ServerJob()));
    ASSERT_TRUE(pool_->Submit(Job("example.net")));
  }
  const std::vector<bool> clients = AwaitClients(21);
  EXPECT_LE(std::find(clients.begin(), clients.end(), true) - clients.begin(), 2);
}

TEST_F(HandshakePoolTest, FloodOfDeliveriesDoesNotDelayInjectors) {
  Start();
  {
    const std::lock_guard closed(gate_);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(pool_->Submit(Job("example.net")));
    ASSERT_TRUE(pool_->Submit(ServerJob()));
  }
  const std::vector<bool> clients = AwaitClients(21);
  EXPECT_LE(std::find(clients.begin(), clients.end(), false) - clients.begin(), 2);
}

TEST_F(HandshakePoolTest, FullQueueOfInjectorsTakesNoPlaceFromDelivery) {
  Start({.jobs_max = 1});
  const std::lock_guard closed(gate_);
  while (pool_->Submit(ServerJob())) continue;
  EXPECT_TRUE(pool_->Submit(Job("example.net")));
}

TEST_F(HandshakePoolTest, EndsWithJobsQueued) {
  Start();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(pool_->Submit(Job("example.net")));
  pool_.reset();
}

}  // namespace
}  // namespace sluice::tls
