#include "tests/sim/check_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sluice::sim {

using policy::TlsLevel;

void PolicyChecker::OnTables() {
  for (auto& [name, regimes] : regimes_) Refresh(name, regimes);
}

void PolicyChecker::Refresh(const std::string& name, std::vector<Regime>& regimes) {
  const policy::TlsControls& controls = in_force_(name);
  const bool remembers = controls.broken_memory > Duration::zero();
  if (!regimes.empty() && regimes.back().level == controls.level) {
    regimes.back().remembers |= remembers;
    return;
  }
  const bool remembered = !regimes.empty() && regimes.back().remembers;
  regimes.push_back(
      {.since = world_.instant(), .level = controls.level, .remembers = remembers || remembered});
}

void PolicyChecker::OnCalling(uint64_t call, const std::string& domain) {
  std::vector<Regime>& regimes = regimes_[domain];
  Refresh(domain, regimes);
  calls_[call] = {
      .domain = domain, .level = regimes.back().level, .remembers = regimes.back().remembers};
}

void PolicyChecker::Violated(const Call& call, TlsLevel level, absl::string_view what) {
  world_.Violated("policy", absl::StrCat(call.domain, ", where the level is ",
                                         policy::TlsLevelName(level), ": ", what));
}

void PolicyChecker::OnStartTls(uint64_t number) {
  const Call& call = calls_.at(number);
  if (call.level == TlsLevel::kOff) Violated(call, call.level, "STARTTLS");
}

void PolicyChecker::OnClearAfterStartTls(uint64_t number) {
  const Call& call = calls_.at(number);
  Violated(call, call.level, "something in clear behind the 220 to STARTTLS");
}

// Written out here once more, not asked of the engine's policy.
bool PolicyChecker::Meets(const std::string& domain, TlsLevel level,
                          const ToyCertificate& certificate) const {
  const bool good = certificate.shown && certificate.trusted && !certificate.expired;
  const std::vector<std::string>& hosts = hosts_.at(domain);
  switch (level) {
    case TlsLevel::kOff:
    case TlsLevel::kOn:
    case TlsLevel::kOnVerify:
    case TlsLevel::kRequired:
      return true;
    case TlsLevel::kRequireVerify:
      return good && certificate.Names(domain);
    case TlsLevel::kRequireVerifyHosted:
      return good && (certificate.Names(domain) ||
                      std::any_of(hosts.begin(), hosts.end(), [&](const std::string& host) {
                        return certificate.Names(host);
                      }));
  }
  return false;
}

bool PolicyChecker::MetByAnybody(TlsLevel level) {
  return level == TlsLevel::kOff || level == TlsLevel::kOn || level == TlsLevel::kOnVerify;
}

bool PolicyChecker::MetBy(const std::string& domain, TlsLevel level,
                          const ToyCertificate* certificate) const {
  return certificate == nullptr ? MetByAnybody(level) : Meets(domain, level, *certificate);
}

void PolicyChecker::OnMail(uint64_t number, absl::string_view what,
                           const ToyCertificate* certificate, Instant written) {
  const Call& call = calls_.at(number);
  const auto judge = [&](TlsLevel level) {
    if (MetBy(call.domain, level, certificate)) return;
    Violated(call, level,
             certificate == nullptr
                 ? absl::StrCat(what, " in clear")
                 : absl::StrCat(what, " to one that showed ", certificate->ToText()));
  };
  judge(call.level);
  const Regime& last = regimes_.at(call.domain).back();
  if (last.since + kSettled < written) judge(last.level);
}

void PolicyChecker::OnNotAsked(uint64_t number, Instant unanswered) {
  const Call& call = calls_.at(number);
  if (call.level == TlsLevel::kOff || call.remembers) return;
  if (unanswered != Instant{} && world_.instant() < unanswered + kFollows) return;
  Violated(call, call.level, "MAIL in clear where STARTTLS was offered");
}

void PolicyChecker::OnSealed(uint64_t number, const ToyCertificate& certificate) {
  Call& call = calls_.at(number);
  if (!call.sealed) ++sealed_calls_;
  call.sealed = true;
  if (Meets(call.domain, call.level, certificate)) return;
  Violated(call, call.level, absl::StrCat("something sealed, for ", certificate.ToText()));
}

}  // namespace sluice::sim
