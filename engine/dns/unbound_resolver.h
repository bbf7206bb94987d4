// Routes by libunbound, which resolves from the root or asks the forwarders, and validates DNSSEC
// itself.
//
// One thread of its own runs all look-ups (route_lookup.h); libunbound has a second one behind it.
// Any thread may call Ask, Poll and UseRoutes. Questions and answers cross under one mutex; the
// shard is woken through the function it handed in, called without the mutex, on the resolver's
// thread.
//
// Names are meant absolutely: neither the search list of /etc/resolv.conf nor /etc/hosts is ever
// read, so that a recipient's domain cannot turn into a local name (P24). "localhost" and the other
// special-use names of RFC 6761 are answered by libunbound itself.
//
// Destroying it abandons what is under way; nobody is woken after that.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/base/slab.h"
#include "engine/base/time.h"
#include "engine/dns/limits.h"
#include "engine/dns/resolver.h"
#include "engine/dns/route_lookup.h"

struct ub_ctx;
struct ub_result;

namespace sluice::dns {

class UnboundResolver final : public Resolver {
 public:
  struct Options {
    RouteRules rules;
    std::vector<std::string> forward;  // "127.0.0.1@5353"; none: resolve from the root.
    std::string trust_anchor;  // A file; without it, or if it is not there, nothing is validated.
    Duration budget = kLookupBudget;            // Of one route.
    std::function<Instant()> now;               // Called on the resolver's thread.
    std::vector<std::function<void()>> wakers;  // One a shard; called on the resolver's thread.
  };

  explicit UnboundResolver(Options options);
  ~UnboundResolver() override;
  UnboundResolver(const UnboundResolver&) = delete;
  UnboundResolver& operator=(const UnboundResolver&) = delete;

  // Checks the options and starts the thread. Once, before the first Ask.
  absl::Status Start();

  void Ask(RouteQuery query) override;
  void Poll(uint32_t shard, std::vector<RouteAnswer>& answers) override;
  void UseRoutes(std::shared_ptr<const RoutesTable> routes) override;

 private:
  struct Asker {
    uint32_t shard = 0;
    Handle destination;
  };
  struct UnderWay {
    std::string domain;
    std::vector<Asker> askers;
    std::optional<RouteLookup> lookup;
  };
  // What libunbound carries for us; its address must hold until the callback.
  struct Question {
    UnboundResolver* resolver = nullptr;
    Handle under_way;
    uint32_t number = 0;
  };
  struct Waiting {
    Handle under_way;
    DnsQuestion question;
  };
  struct Deadline {
    Handle under_way;
    Instant at;
  };
  struct DeleteContext {
    void operator()(ub_ctx* context) const;
  };

  absl::Status Configure();
  void SetLibraryOptions();
  absl::Status UseForwarders();
  absl::Status UseTrustAnchor();
  absl::Status FinishConfiguration();

  void Run();
  void WaitForWork();
  void TakeAsked();
  void BeginAsked();
  void Begin(RouteQuery query);
  bool Join(const RouteQuery& query);
  void QueueQuestions(Handle handle);
  void SubmitQuestions();
  void Submit(const Waiting& waiting);
  static void OnResult(void* question, int error, ub_result* result);
  void OnAnswer(Handle handle, uint32_t number, const DnsAnswer& answer);
  void ExpireBudgets();
  void EndIfDone(Handle handle);
  void DeliverAnswers();
  void Signal();

  Options options_;
  int event_ = -1;  // Readable when there is something in `asked_`, or it is time to stop.
  std::unique_ptr<ub_ctx, DeleteContext> context_;
  std::thread thread_;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;
  std::vector<RouteQuery> asked_;                // Guarded by mutex_, as are the next two.
  std::vector<std::vector<RouteAnswer>> ready_;  // By shard.
  std::shared_ptr<const RoutesTable> new_routes_;

  // The resolver thread's own.
  std::shared_ptr<const RoutesTable> routes_;
  std::deque<RouteQuery> queries_;  // Not begun yet.
  Slab<UnderWay> under_way_{kLookupsUnderWayMax};
  absl::flat_hash_map<std::string, Handle> joinable_;  // By domain: look-ups by the present table.
  std::deque<Deadline> deadlines_;                     // In order: all budgets are the same.
  std::deque<Waiting> waiting_;                        // Questions that libunbound has not got yet.
  Slab<Question> questions_{kQuestionsUnderWayMax};    // Those it has.
  std::vector<std::vector<RouteAnswer>> done_;         // By shard, until DeliverAnswers.
};

}  // namespace sluice::dns
