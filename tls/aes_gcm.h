// AES-GCM (NIST SP 800-38D) by libcrypto, which has it by the processor's instructions where there
// are some. As TLS uses it: keys of 16 or 32 octets, nonces of 12, tags of 16. Any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::tls {

constexpr size_t kGcmNonceBytes = 12;
constexpr size_t kGcmTagBytes = 16;

// Lent for one call.
struct GcmInput {
  std::span<const uint8_t> key;
  std::span<const uint8_t, kGcmNonceBytes> nonce;
  std::span<const uint8_t> additional;  // Authenticated, and not in `text`.
  std::span<const uint8_t> text;        // In clear to seal, sealed to open.
};

// Writes as many octets as `text` has to `output`, which may be where `text` is. False: libcrypto
// could not.
bool SealAesGcm(const GcmInput& input, uint8_t* output, std::span<uint8_t, kGcmTagBytes> tag);

// False: the tag is not that of this text, and what stands in `output` must not be used.
bool OpenAesGcm(const GcmInput& input, uint8_t* output, std::span<const uint8_t, kGcmTagBytes> tag);

}  // namespace sluice::tls
