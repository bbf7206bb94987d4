#include "tests/sim/check_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::sim {

void LimitsChecker::OnTables(bool fresh) {
  if (fresh) ++life_;
  for (auto& [name, domain] : domains_) Refresh(name, domain, fresh);
}

void LimitsChecker::Refresh(const std::string& name, Domain& domain, bool fresh) {
  const policy::Controls& now = in_force_(name);
  if (!fresh && !domain.regimes.empty() && domain.regimes.back().controls == now) return;
  domain.regimes.push_back({world_.instant(), now, {}});
}

// The largest of what held within kSettled.
template <class Get>
uint32_t LimitsChecker::MaxLately(const Domain& domain, Get get) const {
  uint32_t most = 0;
  for (size_t i = domain.regimes.size(); i > 0; --i) {
    most = std::max(most, get(domain.regimes[i - 1].controls));
    if (domain.regimes[i - 1].since + kSettled < world_.instant()) break;
  }
  return most;
}

void LimitsChecker::OnCalling(uint64_t number, const std::string& name) {
  Domain& domain = domains_[name];
  Refresh(name, domain, /*fresh=*/false);
  Call& call = calls_[number];
  CHECK(!call.open);
  call.domain = name;
  call.open = call.opening = true;
  call.life = life_;
  ++domain.connections;
  ++domain.opening;
  const uint32_t most = MaxLately(
      domain, [](const policy::Controls& controls) { return controls.limits.connections_max; });
  if (domain.connections > most) {
    world_.Violated("limits", absl::StrCat(name, " has ", domain.connections, " connections, and ",
                                           most, " are allowed"));
  }
  const uint32_t worth = std::min(
      limits::kMessagesWorthAConnection,
      MaxLately(domain, [](const policy::Controls& c) { return c.messages_per_connection_max; }));
  const bool settled =
      domain.regimes.back().since + kSettled < world_.instant() || domain.regimes.size() == 1;
  if (settled && domain.opening > (domain.outstanding + worth - 1) / worth) {
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
  --domains_[call.domain].connections;
}

void LimitsChecker::OnMail(uint64_t number) {
  Call& call = calls_.at(number);
  const Domain& domain = domains_[call.domain];
  ++call.mails;
  const uint32_t most = MaxLately(domain, [](const policy::Controls& controls) {
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
  if (!regime.controls.limits.recipients_limited) return;
  if (regime.since != domains_[call.domain].regimes.front().since &&
      written < regime.since + kSettled) {
    return;
  }
  regime.recipients.push_back(std::min(world_.instant(), call.closed));
}

void LimitsChecker::ForgetOutstanding() {
  for (auto& [name, domain] : domains_) domain.outstanding = 0;
}

void LimitsChecker::CheckWindows() {
  for (auto& [name, domain] : domains_) {
    for (Regime& regime : domain.regimes) {
      std::vector<Instant>& seen = regime.recipients;
      std::sort(seen.begin(), seen.end());
      const size_t most = regime.controls.limits.recipients_max;
      for (size_t i = 0; i + most < seen.size(); ++i) {
        if (seen[i + most] - seen[i] >= regime.controls.limits.recipient_period) continue;
        return world_.Violated(
            "limits",
            absl::StrCat(name, " got ", most + 1, " recipients from ", TimeText(seen[i]), " to ",
                         TimeText(seen[i + most]), ", and ", most, " are allowed in ",
                         Seconds(regime.controls.limits.recipient_period), " s"));
      }
    }
  }
}

}  // namespace sluice::sim
