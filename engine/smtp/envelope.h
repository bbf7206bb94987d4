// The envelope of a message: what MAIL and RCPT said.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::smtp {

enum class BodyType : uint8_t { kSevenBit, kEightBitMime };  // RFC 6152
enum class Return : uint8_t { kUnset, kFull, kHeaders };     // RFC 3461 RET

// RFC 3461 NOTIFY, as bits. 0: not given.
inline constexpr uint8_t kNotifyNever = 1;
inline constexpr uint8_t kNotifySuccess = 2;
inline constexpr uint8_t kNotifyFailure = 4;
inline constexpr uint8_t kNotifyDelay = 8;

struct EnvelopeRecipient {
  std::string address;             // As it goes on the wire.
  std::string destination;         // Normalised domain.
  std::string original_recipient;  // ORCPT as it came, "rfc822;…" in xtext; empty: not given.
  uint8_t notify = 0;
};

struct Envelope {
  std::string sender;  // Empty: <>.
  BodyType body_type = BodyType::kSevenBit;
  Return ret = Return::kUnset;
  std::string envelope_id;  // ENVID as it came, in xtext.
  std::vector<EnvelopeRecipient> recipients;
};

}  // namespace sluice::smtp
