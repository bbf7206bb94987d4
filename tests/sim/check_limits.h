// Limits, as they can be seen from outside: connections at any instant for each destination, from
// the call to the close; messages on a connection; recipients in every window of the period, at
// the instants at which the peer saw them. Connections and recipients for each scope of the
// destination that has limits of its own (by its addresses, by ours), and beside them for all.
//
// A new table does not undo what was begun under the old one. So for a while after a change the
// larger of the two limits holds for connections and messages, and windows are held to the new
// limit from kSettled after the change. A restart remembers what was counted, also after a crash;
// but who is away cannot tell a wall clock that is set from time that passes.
//
// Also the bound on eagerness (case K20): connections that are being opened are no more than the
// waiting mail can use. It is judged where a destination has one lane.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "policy/controls.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// By where a call comes from and goes to, the scopes of every table can be told.
struct Way {
  IpAddress address;
  IpAddress source;

  // What has limits of its own by `scope`: the parts that have none are empty.
  Way In(const policy::LimitScope& scope) const {
    return {.address = scope.each_address ? address : IpAddress{},
            .source = scope.each_source ? source : IpAddress{}};
  }
  auto operator<=>(const Way&) const = default;
};

class LimitsChecker {
 public:
  // What holds for a domain at this moment, by the engine's own table.
  using InForce = std::function<const policy::Controls&(const std::string& domain)>;
  // `one_lane`: all mail leaves as the system chooses.
  LimitsChecker(World& world, bool one_lane, InForce in_force)
      : world_(world), one_lane_(one_lane), in_force_(std::move(in_force)) {}

  // All limits may have changed. `forgets`: the engine has started, and may have counted less than
  // there was.
  void OnTables(bool forgets);

  // By number of a call, unique in the simulation.
  void OnCalling(uint64_t call, const std::string& domain, const Way& way);
  void OnOpened(uint64_t call);  // The session has been offered a transaction's start.
  void OnClosed(uint64_t call);
  // `written`: when the engine wrote the MAIL of its transaction.
  void OnMail(uint64_t call, Instant written);
  void OnRecipient(uint64_t call, Instant written);

  // Recipients accepted by the engine for the domain and not final.
  void Outstanding(const std::string& domain, int change) {
    domains_[domain].outstanding += change;
  }
  void ForgetOutstanding();

  void CheckWindows();
  uint64_t calls() const { return calls_.size(); }
  // When a domain's receivers saw each recipient, where the limit on them has held all the time.
  std::vector<Instant> Seen(const std::string& domain) const;

 private:
  static constexpr Duration kSettled = std::chrono::seconds(200);

  struct Regime {
    Instant since{};
    policy::Controls controls;
    std::map<Way, std::vector<Instant>> recipients;
  };
  struct Domain {
    std::vector<Regime> regimes;
    std::map<Way, uint32_t> connections;
    uint32_t opening = 0;
    int64_t outstanding = 0;
  };
  struct Call {
    std::string domain;
    Way way;
    bool open = false;
    bool opening = false;
    uint32_t life = 0;
    uint32_t mails = 0;
    Instant closed = kNever;
  };
  void Refresh(const std::string& name, Domain& domain, bool forgets);
  void CheckConnections(const std::string& name, const Domain& domain, const Way& way);
  void CheckWindow(const std::string& name, std::vector<Instant> seen,
                   const policy::Limits& limits);
  template <class Get>
  uint32_t MaxSince(Instant at, const Domain& domain, Get get) const;
  void NoLongerOpening(Call& call);

  World& world_;
  const bool one_lane_;
  InForce in_force_;
  std::map<std::string, Domain> domains_;
  std::map<uint64_t, Call> calls_;
  uint32_t life_ = 0;
};

}  // namespace sluice::sim
