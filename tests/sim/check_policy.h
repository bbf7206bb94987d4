// Policy: what a destination's level of TLS demands, as the receiver sees it. It knows by itself
// what it offered, whether a byte came sealed and which certificate it had shown.
//
//   a level that requires TLS     nothing of mail in clear: no MAIL, RCPT, DATA, no body
//   one that verifies as well     nothing sealed either, not even EHLO, to one that showed a
//                                 certificate that is not for whom the level asks: so nothing
//                                 before the verdict
//   off                           STARTTLS is never said
//   one that prefers TLS          nothing of mail in clear where STARTTLS is offered, but where the
//                                 host has lately left one without a whole 220, or is remembered as
//                                 broken
//   any                           nothing is said in clear behind the 220 to STARTTLS
//
// The level is the one in force when the connection was called, and one that has stood for so long
// that no transaction could have begun before it.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/base/time.h"
#include "policy/tls_controls.h"
#include "tests/sim/toy_tls.h"
#include "tests/sim/world.h"

namespace sluice::sim {

class PolicyChecker {
 public:
  // What holds for a domain at this moment.
  using InForce = std::function<const policy::TlsControls&(const std::string& domain)>;
  PolicyChecker(World& world, InForce in_force) : world_(world), in_force_(std::move(in_force)) {}

  // All levels may have changed.
  void OnTables();
  // By number of a call. `hosts`: the names of the domain's hosts.
  void OnCalling(uint64_t call, const std::string& domain);
  void KnowHosts(const std::string& domain, std::vector<std::string> hosts) {
    hosts_[domain] = std::move(hosts);
  }

  // Whether mail may be sent at this level to a host that shows this; null: has no TLS.
  static bool MetByAnybody(policy::TlsLevel level);
  bool MetBy(const std::string& domain, policy::TlsLevel level,
             const ToyCertificate* certificate) const;

  // --- What the receiver hears.
  void OnStartTls(uint64_t call);
  void OnClearAfterStartTls(uint64_t call);
  // `certificate`: what was shown; null: it comes in clear.
  void OnMail(uint64_t call, absl::string_view what, const ToyCertificate* certificate,
              Instant written);
  // MAIL in clear where STARTTLS was offered and not said. `unanswered`: when the host last left
  // one without an answer that was followed by a handshake.
  void OnNotAsked(uint64_t call, Instant unanswered);
  // Whatever it is.
  void OnSealed(uint64_t call, const ToyCertificate& certificate);

  // How many of a kind there were, so that a reader sees that it was put to the test.
  uint64_t sealed_calls() const { return sealed_calls_; }

 private:
  static constexpr Duration kSettled = std::chrono::minutes(40);

  // A connection in clear that follows a STARTTLS without a 220, or without one in time.
  static constexpr Duration kFollows = std::chrono::minutes(40);

  struct Regime {
    Instant since{};
    policy::TlsLevel level{};
    bool remembers = false;  // It, or one before.
  };
  struct Call {
    std::string domain;
    policy::TlsLevel level{};
    bool remembers = false;
    bool sealed = false;
  };
  void Refresh(const std::string& name, std::vector<Regime>& regimes);
  bool Meets(const std::string& domain, policy::TlsLevel level,
             const ToyCertificate& certificate) const;
  void Violated(const Call& call, policy::TlsLevel level, absl::string_view what);

  World& world_;
  InForce in_force_;
  std::map<std::string, std::vector<Regime>> regimes_;  // By domain.
  std::map<std::string, std::vector<std::string>> hosts_;
  std::map<uint64_t, Call> calls_;
  uint64_t sealed_calls_ = 0;
};

}  // namespace sluice::sim
