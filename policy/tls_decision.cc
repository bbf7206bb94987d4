#include "policy/tls_decision.h"

namespace sluice::policy {
namespace {

TlsReason ReasonOf(TlsFinding finding) {
  switch (finding) {
    case TlsFinding::kNoStartTls:
    case TlsFinding::kEhloRefused:
      return TlsReason::kNoStartTls;
    case TlsFinding::kStartTlsRefused:
      return TlsReason::kStartTlsRefused;
    case TlsFinding::kStartTlsGarbage:
      return TlsReason::kStartTlsGarbage;
    case TlsFinding::kStartTlsSilence:
      return TlsReason::kStartTlsTimeout;
    case TlsFinding::kStartTlsClosed:
      return TlsReason::kStartTlsClosed;
    case TlsFinding::kInjected:
      return TlsReason::kInjected;
    case TlsFinding::kHandshakeFailed:
      return TlsReason::kHandshake;
    case TlsFinding::kHandshakeTimeout:
      return TlsReason::kTimeout;
    case TlsFinding::kProtocol:
      return TlsReason::kProtocol;
    case TlsFinding::kCipher:
      return TlsReason::kCipher;
    case TlsFinding::kEstablished:
      return TlsReason::kNone;
  }
  return TlsReason::kNone;
}

// Of a certificate that is not the one asked for: a host's, where the domain's is, has a wrong
// name.
TlsReason ReasonOf(CertificateFinding certificate) {
  switch (certificate) {
    case CertificateFinding::kVerifiedDomain:
      return TlsReason::kNone;
    case CertificateFinding::kVerifiedMxHost:
    case CertificateFinding::kVerifiedRouteHost:
    case CertificateFinding::kName:
      return TlsReason::kName;
    case CertificateFinding::kUntrusted:
      return TlsReason::kUntrusted;
    case CertificateFinding::kExpired:
      return TlsReason::kExpired;
    case CertificateFinding::kNotYetValid:
      return TlsReason::kNotYetValid;
    case CertificateFinding::kWeakKey:
      return TlsReason::kWeakKey;
    case CertificateFinding::kMalformed:
      return TlsReason::kMalformed;
    case CertificateFinding::kBadChain:
      return TlsReason::kBadChain;
  }
  return TlsReason::kMalformed;
}

// Of a level that prefers TLS.
TlsAction ActionWithoutTls(TlsFinding finding) {
  switch (finding) {
    case TlsFinding::kNoStartTls:
    case TlsFinding::kEhloRefused:
    case TlsFinding::kStartTlsRefused:
      return TlsAction::kClear;
    case TlsFinding::kStartTlsGarbage:
    case TlsFinding::kStartTlsSilence:
    case TlsFinding::kStartTlsClosed:
      return TlsAction::kReconnectClear;
    case TlsFinding::kInjected:
    case TlsFinding::kHandshakeFailed:
    case TlsFinding::kHandshakeTimeout:
    case TlsFinding::kProtocol:
    case TlsFinding::kCipher:
    case TlsFinding::kEstablished:
      return TlsAction::kNextHost;
  }
  return TlsAction::kNextHost;
}

// The levels that do not look at the certificate have no identity in mind: any of the three is a
// good one.
bool NamesWhomTheLevelAsksFor(TlsLevel level, CertificateFinding certificate) {
  switch (certificate) {
    case CertificateFinding::kVerifiedDomain:
      return true;
    case CertificateFinding::kVerifiedMxHost:
    case CertificateFinding::kVerifiedRouteHost:
      return level != TlsLevel::kOnVerify && level != TlsLevel::kRequireVerify;
    case CertificateFinding::kUntrusted:
    case CertificateFinding::kExpired:
    case CertificateFinding::kNotYetValid:
    case CertificateFinding::kName:
    case CertificateFinding::kWeakKey:
    case CertificateFinding::kMalformed:
    case CertificateFinding::kBadChain:
      return false;
  }
  return false;
}

TlsDecision DecideEstablished(TlsLevel level, CertificateFinding certificate) {
  if (NamesWhomTheLevelAsksFor(level, certificate)) return {TlsAction::kVerified, TlsReason::kNone};
  const bool must_be_verified = Requires(level) && Verifies(level);
  return {must_be_verified ? TlsAction::kNextHost : TlsAction::kUnverified, ReasonOf(certificate)};
}

}  // namespace

absl::string_view TlsReasonWord(TlsReason reason) {
  switch (reason) {
    case TlsReason::kNone:
      return "";
    case TlsReason::kNoStartTls:
      return "no-starttls";
    case TlsReason::kStartTlsRefused:
      return "starttls-refused";
    case TlsReason::kStartTlsGarbage:
      return "starttls-garbage";
    case TlsReason::kStartTlsTimeout:
      return "starttls-timeout";
    case TlsReason::kStartTlsClosed:
      return "starttls-closed";
    case TlsReason::kInjected:
      return "injected";
    case TlsReason::kHandshake:
      return "handshake";
    case TlsReason::kTimeout:
      return "timeout";
    case TlsReason::kProtocol:
      return "protocol";
    case TlsReason::kCipher:
      return "cipher";
    case TlsReason::kUntrusted:
      return "untrusted";
    case TlsReason::kExpired:
      return "expired";
    case TlsReason::kNotYetValid:
      return "not-yet-valid";
    case TlsReason::kName:
      return "name";
    case TlsReason::kWeakKey:
      return "weak-key";
    case TlsReason::kMalformed:
      return "malformed";
    case TlsReason::kBadChain:
      return "bad-chain";
  }
  return "";
}

bool MayStartTls(TlsLevel level, bool failure_remembered) {
  return Requires(level) || (Prefers(level) && !failure_remembered);
}

TlsDecision DecideTls(TlsLevel level, TlsFinding finding, CertificateFinding certificate) {
  if (level == TlsLevel::kOff) return {TlsAction::kClear, TlsReason::kNone};
  if (finding == TlsFinding::kEstablished) return DecideEstablished(level, certificate);
  return {Requires(level) ? TlsAction::kNextHost : ActionWithoutTls(finding), ReasonOf(finding)};
}

bool IsBrokenTls(TlsFinding finding) {
  switch (finding) {
    case TlsFinding::kStartTlsGarbage:
    case TlsFinding::kStartTlsSilence:
    case TlsFinding::kStartTlsClosed:
    case TlsFinding::kHandshakeFailed:
    case TlsFinding::kHandshakeTimeout:
    case TlsFinding::kProtocol:
    case TlsFinding::kCipher:
      return true;
    case TlsFinding::kNoStartTls:
    case TlsFinding::kEhloRefused:
    case TlsFinding::kStartTlsRefused:
    case TlsFinding::kInjected:
    case TlsFinding::kEstablished:
      return false;
  }
  return false;
}

absl::string_view TlsResult(const TlsDecision& decision) {
  switch (decision.action) {
    case TlsAction::kClear:
    case TlsAction::kReconnectClear:
      return "none";
    case TlsAction::kUnverified:
      return "unverified";
    case TlsAction::kVerified:
      return "verified";
    case TlsAction::kNextHost:
      return TlsReasonWord(decision.reason);
  }
  return "";
}

}  // namespace sluice::policy
