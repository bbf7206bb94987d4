#include "tls/path.h"

#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "tls/certificate_checks.h"

namespace sluice::tls {
namespace {

// Flags, each with its reason.
//
//   PARTIAL_CHAIN    the trusted certificate ends the path, self-signed or not: trust_store.h.
//   TRUSTED_FIRST    it ends it as soon as it can.
//   POLICY_CHECK     with any policy asked for: a CA that requires one of its policies to be named
//                    is heard (RFC 5280 6.1), and nothing is asked of the others.
//   NO_CHECK_TIME    dates are checked before, to the second.
//   IGNORE_CRITICAL  critical extensions are checked before, with one more that is held to.
//
// Not X509_STRICT: it refuses what harms nobody and private CAs do (no key identifier, a
// basicConstraints that is not critical, a CA without keyUsage), and the suites hold some of that
// to be valid; what it refuses rightly is checked before. No purpose: the extended usages are
// checked before, along the whole path, and keyUsage of the peer's own certificate is for the
// handshake to hold to, which knows how the key is used (RFC 8446 4.4.2.2).
constexpr unsigned long kFlags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST |
                                 X509_V_FLAG_POLICY_CHECK | X509_V_FLAG_NO_CHECK_TIME |
                                 X509_V_FLAG_IGNORE_CRITICAL;

// 112 bits: RSA of 2048, no SHA-1.
constexpr int kAuthLevel = 2;

struct FreedStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }  // The members are lent.
};
using UniqueStack = std::unique_ptr<STACK_OF(X509), FreedStack>;
using UniqueContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

UniqueStack StackOf(const Path& path, size_t begin, size_t end) {
  UniqueStack stack(sk_X509_new_null());
  CHECK(stack != nullptr);
  for (size_t i = begin; i < end; ++i) CHECK(sk_X509_push(stack.get(), path[i]->x509()) > 0);
  return stack;
}

CertificateFault FaultOf(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
      return CertificateFault::kUntrusted;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return CertificateFault::kWeakKey;
    default:
      return CertificateFault::kBadChain;
  }
}

Finding Validate(const Path& path) {
  const UniqueStack untrusted = StackOf(path, 1, path.size() - 1);
  const UniqueStack trusted = StackOf(path, path.size() - 1, path.size());
  const UniqueContext context(X509_STORE_CTX_new());
  CHECK(context != nullptr);
  CHECK(X509_STORE_CTX_init(context.get(), nullptr, path[0]->x509(), untrusted.get()) == 1);
  X509_STORE_CTX_set0_trusted_stack(context.get(), trusted.get());
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(param, kFlags);
  X509_VERIFY_PARAM_set_auth_level(param, kAuthLevel);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(path.size()));
  X509_VERIFY_PARAM_add0_policy(param, OBJ_nid2obj(NID_any_policy));

  const int verified = X509_verify_cert(context.get());
  const int error = X509_STORE_CTX_get_error(context.get());
  TakeLibcryptoError();
  if (verified == 1 && error == X509_V_OK) return {};
  const int depth = X509_STORE_CTX_get_error_depth(context.get());
  const size_t at = std::clamp<size_t>(static_cast<size_t>(std::max(depth, 0)), 0, path.size() - 1);
  return FoundIn(*path[at], FaultOf(error), X509_verify_cert_error_string(error));
}

struct DnsConstraints {
  bool any = false;
  std::vector<std::string> excluded;
};

std::vector<std::string> DnsBases(const STACK_OF(GENERAL_SUBTREE) * subtrees) {
  std::vector<std::string> bases;
  for (int i = 0; i < sk_GENERAL_SUBTREE_num(subtrees); ++i) {
    const GENERAL_NAME* base = sk_GENERAL_SUBTREE_value(subtrees, i)->base;
    if (base->type != GEN_DNS) continue;
    bases.emplace_back(OctetsOf(base->d.dNSName));
  }
  return bases;
}

// Of all CAs of the path.
DnsConstraints DnsConstraintsOf(const Path& path) {
  DnsConstraints dns;
  for (size_t i = 1; i < path.size(); ++i) {
    const UniqueConstraints constraints(static_cast<NAME_CONSTRAINTS*>(
        X509_get_ext_d2i(path[i]->x509(), NID_name_constraints, nullptr, nullptr)));
    if (constraints == nullptr) continue;
    dns.any |= !DnsBases(constraints->permittedSubtrees).empty();
    for (std::string& base : DnsBases(constraints->excludedSubtrees)) {
      dns.excluded.push_back(std::move(base));
    }
  }
  dns.any |= !dns.excluded.empty();
  return dns;
}

// RFC 5280 compares `*.example.com` with an excluded `bar.example.com` as it would any other name,
// and finds them different; but it names bar.example.com (CVE-2025-61727).
bool ReachesExcluded(absl::string_view name, const std::vector<std::string>& excluded) {
  if (!absl::ConsumePrefix(&name, "*.")) return false;
  return std::any_of(excluded.begin(), excluded.end(), [&](absl::string_view base) {
    const size_t dot = base.find('.');
    return dot != base.npos && dot > 0 && absl::EqualsIgnoreCase(name, base.substr(dot + 1));
  });
}

// After libcrypto's comparison, which is octet by octet from the end: a name that is spelled
// otherwise (a last dot, an empty label, a NUL) would pass by what it is compared with.
Finding CheckConstrainedNames(const Path& path) {
  const DnsConstraints dns = DnsConstraintsOf(path);
  if (!dns.any) return {};
  for (const std::string& name : path[0]->Names().dns) {
    if (!IsPlainDnsId(name)) {
      return FoundIn(*path[0], CertificateFault::kBadChain,
                     "a name that can't be held against a CA's name constraints");
    }
    if (ReachesExcluded(name, dns.excluded)) {
      return FoundIn(*path[0], CertificateFault::kBadChain,
                     "a wildcard that reaches a name which a CA's name constraints exclude");
    }
  }
  return {};
}

}  // namespace

Finding CheckCertificates(const Path& path, EpochSeconds now) {
  for (size_t i = 0; i < path.size(); ++i) {
    Finding finding =
        CheckCertificate(*path[i], {.issues = i > 0, .trusted = i + 1 == path.size()}, now);
    if (finding.Any()) return finding;
  }
  return {};
}

Finding CheckPath(const Path& path) {
  CHECK(!path.empty());
  Finding finding = Validate(path);
  if (!finding.Any()) finding = CheckConstrainedNames(path);
  return finding;
}

bool ConstrainsDns(const Path& path) {
  return DnsConstraintsOf(path).any;
}

}  // namespace sluice::tls
