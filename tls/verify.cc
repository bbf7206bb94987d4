#include "tls/verify.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "engine/base/printable.h"
#include "tls/certificate.h"
#include "tls/certificate_limits.h"
#include "tls/path_search.h"

namespace sluice::tls {
namespace {

// Of the names of a certificate for somebody else, how many the detail repeats.
constexpr size_t kNamesTold = 4;

Verdict Malformed(absl::string_view detail) {
  return {.fault = CertificateFault::kMalformed,
          .valid_until = WallTime::max(),
          .detail = std::string(detail)};
}

// What is wrong with the chain before a certificate of it is read; empty if nothing.
absl::string_view BoundFault(const Chain& chain) {
  if (chain.empty()) return "no certificate was sent";
  if (chain.size() > limits::kChainCertificatesMax) return "more than 50 certificates were sent";
  size_t bytes = 0;
  for (const auto& der : chain) bytes += der.size();
  return bytes > limits::kChainBytesMax ? "more than 100 KiB of certificates were sent" : "";
}

WallTime EarliestEnd(const Path& path) {
  EpochSeconds earliest = INT64_MAX;
  for (const Certificate* certificate : path) {
    earliest = std::min(earliest, certificate->not_after().value_or(INT64_MIN));
  }
  return EndOf(earliest);
}

// A certificate becomes good with the second of its notBefore, and bad after that of its notAfter.
WallTime NextDate(const std::vector<Certificate>& certificates, EpochSeconds now) {
  EpochSeconds next = INT64_MAX;
  for (const Certificate& certificate : certificates) {
    if (certificate.not_before() && *certificate.not_before() > now) {
      next = std::min(next, *certificate.not_before() - 1);
    }
    if (certificate.not_after() && *certificate.not_after() >= now) {
      next = std::min(next, *certificate.not_after());
    }
  }
  return EndOf(next);
}

std::string WhomItNames(const PresentedNames& names, NameKind kind) {
  if (kind != NameKind::kNone) return absl::StrCat("names the ", NameKindWord(kind));
  if (names.dns.empty()) return "names no host, and none that was asked for";
  std::vector<std::string> told;
  for (const std::string& name : names.dns) {
    if (told.size() == kNamesTold) break;
    told.push_back(Printable(absl::string_view(name).substr(0, limits::kSubjectBytesMax)));
  }
  const size_t more = names.dns.size() - told.size();
  return absl::StrCat("names ", absl::StrJoin(told, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " more") : "",
                      ", and none that was asked for");
}

}  // namespace

bool Verdict::MeetsVerify() const {
  return fault == CertificateFault::kNone && name == NameKind::kDomain;
}

bool Verdict::MeetsHosted() const {
  return fault == CertificateFault::kNone && name != NameKind::kNone;
}

policy::CertificateFinding Verdict::Finding() const {
  switch (fault) {
    case CertificateFault::kUntrusted:
      return policy::CertificateFinding::kUntrusted;
    case CertificateFault::kExpired:
      return policy::CertificateFinding::kExpired;
    case CertificateFault::kNotYetValid:
      return policy::CertificateFinding::kNotYetValid;
    case CertificateFault::kWeakKey:
      return policy::CertificateFinding::kWeakKey;
    case CertificateFault::kMalformed:
      return policy::CertificateFinding::kMalformed;
    case CertificateFault::kBadChain:
      return policy::CertificateFinding::kBadChain;
    case CertificateFault::kNone:
      break;
  }
  switch (name) {
    case NameKind::kNone:
      return policy::CertificateFinding::kName;
    case NameKind::kDomain:
      return policy::CertificateFinding::kVerifiedDomain;
    case NameKind::kMxHost:
      return policy::CertificateFinding::kVerifiedMxHost;
    case NameKind::kRouteHost:
      return policy::CertificateFinding::kVerifiedRouteHost;
  }
  return policy::CertificateFinding::kMalformed;
}

Verdict Judge(const Chain& chain, const References& references, const TrustStore& trust,
              WallTime now, const JudgeOptions& options) {
  const absl::string_view bound = BoundFault(chain);
  if (!bound.empty()) return Malformed(bound);
  std::vector<Certificate> certificates;
  certificates.reserve(chain.size());
  for (const auto& der : chain) {
    auto certificate = Certificate::Parse(der);
    if (!certificate) {
      return Malformed(absl::StrCat("certificate ", certificates.size(), " can't be read"));
    }
    certificates.push_back(*std::move(certificate));
  }

  const EpochSeconds now_s = SecondsAt(now);
  const Certificate& leaf = certificates.front();
  auto [finding, path] = PathSearch(certificates, trust.anchors(), now_s).Find();
  Verdict verdict{.fault = finding.fault,
                  .valid_until = NextDate(certificates, now_s),
                  .subject = leaf.Subject(),
                  .detail = std::move(finding.detail)};
  if (verdict.fault != CertificateFault::kNone) return verdict;
  const PresentedNames names = leaf.Names();
  // libcrypto holds a common name to constraints only where it looks to it like a DNS name.
  const bool accept_common_name = options.accept_common_name && !ConstrainsDns(path);
  verdict.name = MatchNames(names, references, accept_common_name);
  verdict.valid_until = EarliestEnd(path);
  verdict.detail = WhomItNames(names, verdict.name);
  return verdict;
}

}  // namespace sluice::tls
