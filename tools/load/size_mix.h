// How large the messages are: sizes with weights, of whole messages with their header sections.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/random.h"

namespace sluice::tools {

inline constexpr uint64_t kMessageBytesMin = 512;  // Room for the header section and one line.
inline constexpr uint64_t kMessageBytesMax = 256 << 20;

class SizeMix {
 public:
  // "10k", "2k:50,10k:40,100k:10" (sizes and weights; k and m are powers of 1024), or
  // "exponential:10k" (that mean, as 64 sizes of equal weight).
  static absl::StatusOr<SizeMix> Parse(absl::string_view text);

  const std::vector<uint64_t>& sizes_bytes() const { return sizes_bytes_; }

  // An index into sizes_bytes().
  size_t Choose(Random& chance) const;

 private:
  std::vector<uint64_t> sizes_bytes_;
  std::vector<uint64_t> weights_up_to_;  // Of each size and those before it.
};

}  // namespace sluice::tools
