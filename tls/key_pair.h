// A certificate of our own with its key, as the TLS library takes them: read from two files, and
// found to belong together.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::tls {

struct KeyPair {
  std::string chain_pem;  // Our own first, then as the file has them, and nothing else.
  std::string key_pem;    // PKCS #8. A secret: never into a log.
  std::string subject;    // Of our own, for logs.
  WallTime not_after{};
};

// A file of certificates, our own first, and one of its key; they may be the same file. Refused,
// with the file's name and what is wrong: what can't be read, a key under a pass phrase, a key that
// isn't the first certificate's, a first certificate whose time is over or hasn't begun. Never
// called on a shard's thread.
absl::StatusOr<KeyPair> LoadKeyPair(const std::string& certificate_file,
                                    const std::string& key_file, WallTime now);

// The same of text; the names are for errors.
struct PemText {
  absl::string_view name;
  absl::string_view text;
};
absl::StatusOr<KeyPair> ReadKeyPair(PemText certificates, PemText key, WallTime now);

}  // namespace sluice::tls
