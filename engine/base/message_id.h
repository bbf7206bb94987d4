// The name of a message, unique over shards and restarts.
//
//   bits 63..8   microseconds since 1970-01-01 UTC at which it was made, never the same twice on a
//   shard bits  7..0   the shard that made it
//
// Later ids of one shard are greater. As text it is 13 characters of Crockford's base 32 (no I, L,
// O, U), which sorts as the number does: "05ZKQ3J8V0A04".

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice {

struct MessageId {
  uint64_t value = 0;

  auto operator<=>(const MessageId&) const = default;
  explicit operator bool() const { return value != 0; }

  std::string ToString() const;
  static std::optional<MessageId> Parse(absl::string_view text);
};

class MessageIdSource {
 public:
  explicit MessageIdSource(uint8_t shard) : shard_(shard) {}

  // Greater than every id that this source gave or has seen, also when the wall clock steps back.
  MessageId Next(WallTime now);
  void Seen(MessageId id);  // From recovery.

 private:
  uint8_t shard_;
  uint64_t last_us_ = 0;
};

}  // namespace sluice
