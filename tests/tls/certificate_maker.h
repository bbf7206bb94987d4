// Certificates made to order, for the tests: an ordinary one, and then what is to be odd about it.
//
//   const Made root = Make(CaRecipe("root"));
//   const Made leaf = Make(LeafRecipe("mx.example.net").Without("subjectAltName"), &root);

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "tls/certificate.h"
#include "tls/trust_store.h"
#include "tls/verify.h"

namespace sluice::tls {

inline constexpr EpochSeconds kNowSeconds = 1782907200;  // 2026-07-01 12:00:00 UTC.
inline constexpr WallTime kNow{std::chrono::seconds(kNowSeconds)};
inline constexpr EpochSeconds kDay = 86400;

struct Recipe {
  std::string name;               // The subject's common name; empty: an empty subject.
  std::string key;                // "p256:NAME", and for p256 also rsa1024, rsa2048, ed25519 …:
                                  // one key for each name, the same in the whole run;
                                  // "slot:N", the same in every run.
  std::string digest = "SHA256";  // Of the signature on it; for Ed25519 none.
  int version = 3;
  EpochSeconds not_before = kNowSeconds - 30 * kDay;
  EpochSeconds not_after = kNowSeconds + 60 * kDay;
  std::string not_after_octets;  // Instead, where there are any.
  std::string serial;            // In hexadecimal; without, a number of its own.
  // As openssl.cnf has them ("keyUsage", "critical,keyCertSign"), or an OID and "DER:…".
  std::vector<std::pair<std::string, std::string>> extensions;

  Recipe With(const std::string& extension, const std::string& value) const;  // Replaces it.
  Recipe Without(const std::string& extension) const;
  Recipe Key(const std::string& name) const;
  Recipe Dates(EpochSeconds begin, EpochSeconds end) const;
};

// A CA as it should be, with a key of its own name.
Recipe CaRecipe(const std::string& name);
// A server's certificate as it should be, for one DNS name.
Recipe LeafRecipe(const std::string& host);

struct Made {
  UniqueX509 x509;
  std::string key;
  std::vector<std::byte> der;

  std::string Pem() const;
};

// Signed by `issuer`; by itself without.
Made Make(const Recipe& recipe, const Made* issuer = nullptr);

std::string KeyPem(const std::string& key);

// The certificate with one bit of its signature turned.
Made WithBadSignature(const Made& made);

Chain ChainOf(const std::vector<const Made*>& made);
TrustStore Trusting(const std::vector<const Made*>& made);

}  // namespace sluice::tls
