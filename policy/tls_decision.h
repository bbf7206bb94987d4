// What a level of TLS does with what a receiver does: go on in clear, go on encrypted, or send
// nothing here. The one place that lets mail leave in clear.
//
// Before the receiver's 220 to STARTTLS, a level that only prefers TLS goes on in clear: on the
// same session where the receiver's answer was whole, on a new one where the dialogue was lost.
// After the 220 no level does: what fails there is what an attacker would make fail, and the
// message waits for its next attempt. A level that requires TLS never goes on in clear.
//
// The level is the one that stood when the connection was opened; a new table does not change it
// under a session.

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "policy/tls_level.h"

namespace sluice::policy {

// What the receiver did.
enum class TlsFinding : uint8_t {
  // Before the 220.
  kNoStartTls,       // EHLO was answered without it.
  kEhloRefused,      // EHLO itself, so that HELO was needed.
  kStartTlsRefused,  // A 4xx or 5xx; 421 is kStartTlsClosed.
  kStartTlsGarbage,  // Not a reply, one that is neither 220 nor a refusal, or more than one.
  kStartTlsSilence,
  kStartTlsClosed,
  // After it.
  kInjected,  // Bytes came behind the 220, before TLS.
  kHandshakeFailed,
  kHandshakeTimeout,
  kProtocol,     // No version in common, or one below tls_min.
  kCipher,       // No suite or group in common, one that was not offered, or DH below 2048 bits.
  kEstablished,  // The certificate's finding says more.
};
inline constexpr int kTlsFindings = 12;

// What the certificate of an established session is worth. The three verified ones have a whole
// chain to a trusted root, and say whom the certificate names.
enum class CertificateFinding : uint8_t {
  kVerifiedDomain,     // The recipient domain; as good as the other two.
  kVerifiedMxHost,     // An MX host of the domain, and not the domain.
  kVerifiedRouteHost,  // The host of the domain's route, and not the domain.
  kUntrusted,          // No trusted root.
  kExpired,
  kNotYetValid,
  kName,       // It names somebody else.
  kWeakKey,    // RSA below 2048 bits, or a signature by SHA-1 or MD5.
  kMalformed,  // It cannot be read.
  kBadChain,   // It, or what signed it, may not do so (purpose, constraints, signature).
};
inline constexpr int kCertificateFindings = 10;

enum class TlsAction : uint8_t {
  kClear,           // Go on in clear, on this very session.
  kReconnectClear,  // Drop it, open the same address anew, and do not try STARTTLS there.
  kUnverified,      // Go on encrypted.
  kVerified,        // Go on encrypted, with whom the level asks for.
  kNextHost,        // Send nothing here; the next address, else the message is deferred.
};

// Why TLS, or the verdict on it, fell short; for logs, the queue's view and bounces.
enum class TlsReason : uint8_t {
  kNone,
  kNoStartTls,
  kStartTlsRefused,
  kStartTlsGarbage,
  kStartTlsTimeout,
  kStartTlsClosed,
  kInjected,
  kHandshake,
  kTimeout,
  kProtocol,
  kCipher,
  kUntrusted,
  kExpired,
  kNotYetValid,
  kName,
  kWeakKey,
  kMalformed,
  kBadChain,
};
inline constexpr int kTlsReasons = 18;

// "starttls-refused"; empty for kNone.
absl::string_view TlsReasonWord(TlsReason reason);

struct TlsDecision {
  TlsAction action = TlsAction::kNextHost;
  TlsReason reason = TlsReason::kNone;  // Whatever the action: also why a session is unverified.

  bool operator==(const TlsDecision&) const = default;
};

// Is STARTTLS sent to a receiver that offers it? `failure_remembered`: TLS with this host was found
// broken within tls_broken_memory, which only the levels that prefer TLS heed. Where the answer is
// no, the session goes on in clear, and there is nothing to decide.
bool MayStartTls(TlsLevel level, bool failure_remembered = false);

// `certificate` is read with kEstablished only.
TlsDecision DecideTls(TlsLevel level, TlsFinding finding,
                      CertificateFinding certificate = CertificateFinding::kUntrusted);

// Does it say that the host's TLS is broken, so that trying again soon is in vain? Not where
// STARTTLS is whole but refused or absent, which costs nothing to see again; and not injected
// bytes, which are somebody between.
bool IsBrokenTls(TlsFinding finding);

// The log's tls_result: "none" (in clear), "unverified", "verified", or the word of the reason why
// nothing was sent.
absl::string_view TlsResult(const TlsDecision& decision);

}  // namespace sluice::policy
