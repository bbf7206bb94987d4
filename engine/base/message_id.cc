#include "engine/base/message_id.h"

#include <algorithm>
#include <chrono>

namespace sluice {
namespace {

constexpr char kAlphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr int kTextLength = 13;
constexpr int kShardBits = 8;

int DigitOf(char c) {
  for (int i = 0; i < 32; ++i) {
    if (kAlphabet[i] == c) return i;
  }
  return -1;
}

}  // namespace

std::string MessageId::ToString() const {
  std::string text(kTextLength, '0');
  uint64_t rest = value;
  for (int i = kTextLength - 1; i >= 0; --i) {
    text[i] = kAlphabet[rest & 31];
    rest >>= 5;
  }
  return text;
}

// Only what ToString writes: one id has one spelling, so that a log can be searched for it. Zero is
// refused, since it names no message.
std::optional<MessageId> MessageId::Parse(absl::string_view text) {
  if (text.size() != kTextLength) return std::nullopt;
  if (DigitOf(text[0]) > 15) return std::nullopt;  // 13 digits hold 65 bits, one too many.
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = DigitOf(c);
    if (digit < 0) return std::nullopt;
    value = value << 5 | static_cast<uint64_t>(digit);
  }
  if (value == 0) return std::nullopt;
  return MessageId{value};
}

MessageId MessageIdSource::Next(WallTime now) {
  const auto now_us =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  // At one microsecond twice, or with the clock stepped back, the ids run ahead of the clock.
  last_us_ = std::max(now_us > 0 ? static_cast<uint64_t>(now_us) : 0, last_us_ + 1);
  return MessageId{last_us_ << kShardBits | shard_};
}

void MessageIdSource::Seen(MessageId id) {
  last_us_ = std::max(last_us_, id.value >> kShardBits);
}

}  // namespace sluice
