// The certificates that an operator trusts, as one file names them. Immutable once made: any number
// of threads may share it, and a new file makes a new store with a higher version.
//
// Whatever stands in the file is trusted as it says of itself: a root or an intermediate CA for
// what it signed, and a server's own certificate (self-signed or not) for that server. Its dates,
// usages and constraints hold for it as for every other certificate; it need not be self-signed,
// since the operator who names an intermediate CA means just that one.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::tls {

class Anchors;  // For the search of paths only (anchors.h).

class TrustStore {
 public:
  // Reads a file of PEM certificates; text between them is passed over. Refused, with the file's
  // name: a file that can't be read or is beyond a bound, one without a certificate, a certificate
  // that can't be read. Never called on a shard's thread. `version`: whatever tells it from others.
  static absl::StatusOr<TrustStore> Load(const std::string& file, uint64_t version);
  static absl::StatusOr<TrustStore> Parse(absl::string_view pem, absl::string_view file,
                                          uint64_t version);

  TrustStore(TrustStore&&) noexcept;
  TrustStore& operator=(TrustStore&&) noexcept;
  ~TrustStore();

  uint64_t version() const { return version_; }
  size_t size() const;  // Different certificates.
  const Anchors& anchors() const { return *anchors_; }

 private:
  TrustStore(std::unique_ptr<const Anchors> anchors, uint64_t version);

  std::unique_ptr<const Anchors> anchors_;  // Never null, but in a store that was moved from.
  uint64_t version_;
};

}  // namespace sluice::tls
