// Files of certificates and keys, in PEM: what they hold, or an error that names the file.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tls/libcrypto.h"

namespace sluice::tls {

// "FILE: REASON".
absl::Status FileRefused(absl::string_view file, absl::string_view reason);

absl::StatusOr<std::string> ReadPemFile(const std::string& file, size_t bytes_max);

// Every certificate of `pem`, in order; whatever else stands there is passed over. Refused: none at
// all, more than `certificates_max`, one that can't be read.
absl::StatusOr<std::vector<UniqueX509>> ReadPemCertificates(absl::string_view pem,
                                                            absl::string_view file,
                                                            size_t certificates_max);

// The first private key of `pem`. Refused: none, one that can't be read, one under a pass phrase.
absl::StatusOr<UniqueKey> ReadPemKey(absl::string_view pem, absl::string_view file);

}  // namespace sluice::tls
