// What a certificate says of itself, for people to read. No judgement: that is verify.h.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice::tls {

// All text is printable ASCII: a peer wrote it, and it goes to terminals and logs.
struct CertificateFacts {
  std::string subject;             // RFC 2253.
  std::string issuer;              // The same.
  std::string not_before;          // "2026-07-01 12:00:00 UTC", or "unreadable".
  std::string not_after;           // The same.
  std::vector<std::string> names;  // Of subjectAltName: DNS names, then addresses.
  std::string key;                 // "EC 256", "RSA 2048".
  std::string signature;           // "ecdsa-with-SHA256".

  bool operator==(const CertificateFacts&) const = default;
};

// nullopt: it can't be read.
std::optional<CertificateFacts> FactsOf(std::span<const std::byte> der);

}  // namespace sluice::tls
