#include "tls/path_search.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/certificate_checks.h"
#include "tls/certificate_limits.h"

namespace sluice::tls {
namespace {

bool HaveOneName(const X509_NAME* a, const X509_NAME* b) {
  return X509_NAME_cmp(a, b) == 0;
}

bool HaveOneKey(const Certificate& a, const Certificate& b) {
  const EVP_PKEY* key_a = X509_get0_pubkey(a.x509());
  const EVP_PKEY* key_b = X509_get0_pubkey(b.x509());
  const bool one = key_a != nullptr && key_b != nullptr && EVP_PKEY_eq(key_a, key_b) == 1;
  TakeLibcryptoError();
  return one;
}

}  // namespace

PathSearch::PathSearch(std::span<const Certificate> sent, const Anchors& anchors, EpochSeconds now)
    : sent_(sent),
      anchors_(anchors),
      now_(now),
      steps_left_(limits::kSearchStepsMax),
      signatures_left_(limits::kSignatureChecksMax) {
  CHECK(!sent.empty());
}

PathSearch::Result PathSearch::Find() {
  const Certificate& leaf = sent_.front();
  path_ = {&leaf};
  if (anchors_.Contains(leaf)) {
    Judge(Pass::kExplain);
    return std::move(result_);
  }
  const bool sound = !CheckCertificate(leaf, {}, now_).Any();
  const bool over = sound && Extend(Pass::kSound);
  if (!over && !judged_) Extend(Pass::kExplain);
  if (!judged_) result_.finding = NoPath();
  return std::move(result_);
}

bool PathSearch::Extend(Pass pass) {
  return ExtendToAnchors(pass) || ExtendBySent(pass);
}

bool PathSearch::ExtendToAnchors(Pass pass) {
  for (const Certificate& anchor : anchors_.Named(path_.back()->issuer())) {
    if (!MayFollow(anchor, true, pass)) continue;
    path_.push_back(&anchor);
    const bool over = Judge(pass);
    path_.pop_back();
    if (over) return true;
  }
  return exhausted_;
}

bool PathSearch::ExtendBySent(Pass pass) {
  if (path_.size() + 2 > limits::kPathCertificatesMax) return exhausted_;
  for (const Certificate* issuer : SentIssuers(pass)) {
    path_.push_back(issuer);
    const bool over = Extend(pass);
    path_.pop_back();
    if (over) return true;
  }
  return exhausted_;
}

bool PathSearch::Judge(Pass pass) {
  Finding finding;
  if (pass == Pass::kExplain) finding = CheckCertificates(path_, now_);
  if (!finding.Any()) {
    if (!Spend(signatures_left_, static_cast<int>(path_.size()))) return true;
    finding = CheckPath(path_);
  }
  const bool good = !finding.Any();
  if (good || !judged_) result_ = {std::move(finding), path_};
  judged_ = true;
  return good || pass == Pass::kExplain;
}

std::vector<const Certificate*> PathSearch::SentIssuers(Pass pass) {
  std::vector<const Certificate*> issuers;
  for (const Certificate& sent : sent_.subspan(1)) {
    if (MayFollow(sent, false, pass) && !HasKeyInPath(sent)) issuers.push_back(&sent);
  }
  // Of several with one name, most likely one signed it: no way is gone in vain. A single one is
  // judged with its whole path.
  if (pass == Pass::kSound && issuers.size() > 1) {
    const Certificate& last = *path_.back();
    std::erase_if(issuers,
                  [&](const Certificate* issuer) { return !SignatureHolds(last, *issuer); });
  }
  return issuers;
}

bool PathSearch::MayFollow(const Certificate& issuer, bool trusted, Pass pass) {
  if (!Spend(steps_left_, 1)) return false;
  const Certificate& last = *path_.back();
  if (!HaveOneName(issuer.subject(), last.issuer())) return false;
  if (pass == Pass::kExplain) return true;
  // Also that the key identifiers, where there are any, are those of one key.
  return X509_check_issued(issuer.x509(), last.x509()) == X509_V_OK && IsSound(issuer, trusted);
}

bool PathSearch::IsSound(const Certificate& certificate, bool trusted) {
  const auto [known, is_new] = sound_.try_emplace({&certificate, trusted}, false);
  if (is_new) {
    known->second =
        !CheckCertificate(certificate, {.issues = true, .trusted = trusted}, now_).Any();
  }
  return known->second;
}

bool PathSearch::SignatureHolds(const Certificate& certificate, const Certificate& issuer) {
  const auto [known, is_new] = signatures_.try_emplace({&certificate, &issuer}, false);
  if (is_new) {
    EVP_PKEY* const key = X509_get0_pubkey(issuer.x509());
    known->second =
        key != nullptr && Spend(signatures_left_, 1) && X509_verify(certificate.x509(), key) == 1;
    TakeLibcryptoError();
  }
  return known->second;
}

// The same CA again, be it by another of its certificates, leads in a circle (RFC 4158 2.4.2).
bool PathSearch::HasKeyInPath(const Certificate& certificate) const {
  return std::any_of(path_.begin(), path_.end(), [&](const Certificate* in_path) {
    return HaveOneName(in_path->subject(), certificate.subject()) &&
           HaveOneKey(*in_path, certificate);
  });
}

bool PathSearch::Spend(int& left, int amount) {
  if (left < amount) exhausted_ = true;
  if (exhausted_) return false;
  left -= amount;
  return true;
}

Finding PathSearch::NoPath() const {
  const Certificate& leaf = sent_.front();
  return FoundIn(leaf, CertificateFault::kUntrusted,
                 absl::StrCat(exhausted_ ? "too many paths to try, and none was good"
                                         : "no path to a trusted certificate",
                              "; its issuer is ", Certificate::NameText(leaf.issuer())));
}

}  // namespace sluice::tls
