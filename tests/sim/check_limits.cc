#include "tests/sim/check_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::sim {

void LimitsChecker::OnTables(bool forgets) {
  if (forgets) ++life_;
  for (auto& [name, domain] : domains_) Refresh(name, domain, forgets);
}

void LimitsChecker::Refresh(const std::string& name, Domain& domain, bool forgets) {
  const policy::Controls& now = in_force_(name);
  if (!forgets && !domain.regimes.empty() && domain.regimes.back().controls == now) return;
  domain.regimes.push_back({world_.instant(), now, {}});
}

// The largest of what has held since kSettled before `at`.
template <class Get>
uint32_t LimitsChecker::MaxSince(Instant at, const Domain& domain, Get get) const {
  uint32_t most = 0;
  for (size_t i = domain.regimes.size(); i > 0; --i) {
    most = std::max(most, get(domain.regimes[i - 1].controls));
    if (domain.regimes[i - 1].since + kSettled < at) break;
  }
  return most;
}

// In a scope of one of the tables that held lately, and in all.
void LimitsChecker::CheckConnections(const std::string& name, const Domain& domain,
                                     const Way& way) {
  const auto count = [&](const policy::LimitScope& scope) {
    uint32_t connections = 0;
    for (const auto& [other, number] : domain.connections) {
      if (other.In(scope) == way.In(scope)) connections += number;
    }
    return connections;
  };
  const uint32_t most = MaxSince(world_.instant(), domain, [](const policy::Controls& controls) {
    return controls.limits.connections_max;
  });
  bool good = false;
  for (size_t i = domain.regimes.size(); i > 0; --i) {
    good |= count(domain.regimes[i - 1].controls.scope) <= most;
    if (domain.regimes[i - 1].since + kSettled < world_.instant()) break;
  }
  const uint32_t most_of_all =
      MaxSince(world_.instant(), domain,
               [](const policy::Controls& controls) { return controls.system.connections_max; });
  if (good && count({}) <= most_of_all) return;
  world_.Violated("limits", absl::StrCat(name, " has ", count({}), " connections, ",
                                         count(domain.regimes.back().controls.scope),
                                         " of them in the scope of the last, and ", most,
                                         " are allowed there and ", most_of_all, " in all"));
}

void LimitsChecker::OnCalling(uint64_t number, const std::string& name, const Way& way) {
  Domain& domain = domains_[name];
  Refresh(name, domain, /*forgets=*/false);
  Call& call = calls_[number];
  CHECK(!call.open);
  call.domain = name;
  call.way = way;
  call.open = call.opening = true;
  call.life = life_;
  ++domain.connections[way];
  ++domain.opening;
  CheckConnections(name, domain, way);
  const uint32_t worth = std::min(limits::kMessagesWorthAConnection,
                                  MaxSince(world_.instant(), domain, [](const policy::Controls& c) {
                                    return c.messages_per_connection_max;
                                  }));
  const bool settled =
      domain.regimes.back().since + kSettled < world_.instant() || domain.regimes.size() == 1;
  // Of several lanes each opens for its own mail, and by which a call goes cannot be seen.
  if (one_lane_ && settled && domain.opening > (domain.outstanding + worth - 1) / worth) {
    world_.Violated("limits",
                    absl::StrCat(name, ": ", domain.opening, " connections are being opened for ",
                                 domain.outstanding, " recipients"));
  }
}

void LimitsChecker::NoLongerOpening(Call& call) {
  if (!call.opening) return;
  call.opening = false;
  --domains_[call.domain].opening;
}

void LimitsChecker::OnOpened(uint64_t call) {
  NoLongerOpening(calls_.at(call));
}

void LimitsChecker::OnClosed(uint64_t number) {
  const auto found = calls_.find(number);
  if (found == calls_.end() || !found->second.open) return;
  Call& call = found->second;
  NoLongerOpening(call);
  call.open = false;
  call.closed = world_.instant();
  --domains_[call.domain].connections[call.way];
}

void LimitsChecker::OnMail(uint64_t number, Instant written) {
  Call& call = calls_.at(number);
  const Domain& domain = domains_[call.domain];
  ++call.mails;
  const uint32_t most = MaxSince(written, domain, [](const policy::Controls& controls) {
    return controls.messages_per_connection_max;
  });
  if (call.mails > most) {
    world_.Violated("limits", absl::StrCat(call.domain, " gets message ", call.mails,
                                           " on one connection, and ", most, " are allowed"));
  }
}

// What comes after the engine has closed the connection was seen, for its part, by then.
void LimitsChecker::OnRecipient(uint64_t number, Instant written) {
  const Call& call = calls_.at(number);
  if (call.life != life_) return;
  Regime& regime = domains_[call.domain].regimes.back();
  if (!regime.controls.limits.recipients_limited && !regime.controls.system.recipients_limited) {
    return;
  }
  if (regime.since != domains_[call.domain].regimes.front().since &&
      written < regime.since + kSettled) {
    return;
  }
  regime.recipients[call.way].push_back(std::min(world_.instant(), call.closed));
}

void LimitsChecker::ForgetOutstanding() {
  for (auto& [name, domain] : domains_) domain.outstanding = 0;
}

void LimitsChecker::CheckWindows() {
  for (auto& [name, domain] : domains_) {
    for (const Regime& regime : domain.regimes) {
      std::map<Way, std::vector<Instant>> of_scopes;
      std::vector<Instant> of_all;
      for (const auto& [way, seen] : regime.recipients) {
        std::vector<Instant>& of_scope = of_scopes[way.In(regime.controls.scope)];
        of_scope.insert(of_scope.end(), seen.begin(), seen.end());
        of_all.insert(of_all.end(), seen.begin(), seen.end());
      }
      for (auto& [way, seen] : of_scopes) {
        CheckWindow(name, std::move(seen), regime.controls.limits);
      }
      CheckWindow(absl::StrCat(name, ", in all,"), std::move(of_all), regime.controls.system);
    }
  }
}

std::vector<Instant> LimitsChecker::Seen(const std::string& domain) const {
  std::vector<Instant> seen;
  const auto found = domains_.find(domain);
  if (found == domains_.end()) return seen;
  for (const auto& [way, times] : found->second.regimes.back().recipients) {
    seen.insert(seen.end(), times.begin(), times.end());
  }
  std::sort(seen.begin(), seen.end());
  return seen;
}

void LimitsChecker::CheckWindow(const std::string& name, std::vector<Instant> seen,
                                const policy::Limits& limits) {
  if (!limits.recipients_limited) return;
  std::sort(seen.begin(), seen.end());
  const size_t most = limits.recipients_max;
  for (size_t i = 0; i + most < seen.size(); ++i) {
    if (seen[i + most] - seen[i] >= limits.recipient_period) continue;
    return world_.Violated(
        "limits", absl::StrCat(name, " got ", most + 1, " recipients from ", TimeText(seen[i]),
                               " to ", TimeText(seen[i + most]), ", and ", most, " are allowed in ",
                               Seconds(limits.recipient_period), " s"));
  }
}

}  // namespace sluice::sim
