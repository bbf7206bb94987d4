// A certificate as it was read: the bytes, libcrypto's object of them, and what is asked of it more
// than once. Immutable after Parse; threads may share it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/base/time.h"
#include "tls/identity.h"
#include "tls/libcrypto.h"

namespace sluice::tls {

// Seconds since 1970-01-01 UTC; certificates run to the year 9999, which WallTime can't hold.
using EpochSeconds = int64_t;

class Certificate {
 public:
  // The whole of `der` must be one certificate in DER's own form, of which there is just one.
  // nullopt: it can't be read.
  static std::optional<Certificate> Parse(std::span<const std::byte> der);
  explicit Certificate(UniqueX509 x509);  // Never null.

  X509* x509() const { return x509_.get(); }
  const X509_NAME* subject() const { return X509_get_subject_name(x509_.get()); }
  const X509_NAME* issuer() const { return X509_get_issuer_name(x509_.get()); }

  // nullopt where the field is not in the form of RFC 5280 4.1.2.5 (seconds, UTC).
  std::optional<EpochSeconds> not_before() const { return not_before_; }
  std::optional<EpochSeconds> not_after() const { return not_after_; }

  // For logs: the subject by RFC 2253, printable ASCII, cut at kSubjectBytesMax.
  std::string Subject() const { return NameText(subject()); }
  static std::string NameText(const X509_NAME* name);

  PresentedNames Names() const;

  bool operator==(const Certificate& other) const;  // Byte for byte.

 private:
  UniqueX509 x509_;
  std::optional<EpochSeconds> not_before_;
  std::optional<EpochSeconds> not_after_;
};

// The second that holds `time`.
EpochSeconds SecondsAt(WallTime time);

// The first instant after the second `time`, as far as WallTime reaches.
WallTime EndOf(EpochSeconds time);

// "2026-07-01 12:00:00 UTC".
std::string TimeText(EpochSeconds time);

}  // namespace sluice::tls
