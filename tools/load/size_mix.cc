#include "tools/load/size_mix.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice::tools {
namespace {

constexpr int kQuantiles = 64;
constexpr size_t kSizesMax = 64;
constexpr uint64_t kWeightMax = 1'000'000;

absl::Status Wrong(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("size '", text, "': ", why));
}

std::optional<uint64_t> ParseSize(absl::string_view text) {
  uint64_t unit = 1;
  if (absl::ConsumeSuffix(&text, "k")) unit = 1 << 10;
  if (unit == 1 && absl::ConsumeSuffix(&text, "m")) unit = 1 << 20;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number > kMessageBytesMax / unit) return std::nullopt;
  if (number * unit < kMessageBytesMin) return std::nullopt;
  return number * unit;
}

// The sizes in the middle of 64 equally likely parts of the distribution.
std::vector<uint64_t> ExponentialSizes(uint64_t mean_bytes) {
  std::vector<uint64_t> sizes;
  for (int i = 0; i < kQuantiles; ++i) {
    const double below = (i + 0.5) / kQuantiles;
    const double bytes = -std::log1p(-below) * static_cast<double>(mean_bytes);
    sizes.push_back(std::clamp(static_cast<uint64_t>(bytes), kMessageBytesMin, kMessageBytesMax));
  }
  return sizes;
}

}  // namespace

absl::StatusOr<SizeMix> SizeMix::Parse(absl::string_view text) {
  SizeMix mix;
  absl::string_view mean_text = text;
  if (absl::ConsumePrefix(&mean_text, "exponential:")) {
    const auto mean_bytes = ParseSize(mean_text);
    if (!mean_bytes) return Wrong(text, "the mean is from 512 bytes to 256m, like 10k");
    mix.sizes_bytes_ = ExponentialSizes(*mean_bytes);
    for (size_t i = 0; i < mix.sizes_bytes_.size(); ++i) mix.weights_up_to_.push_back(i + 1);
    return mix;
  }
  uint64_t weights = 0;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> words =
        absl::StrSplit(part, absl::MaxSplits(':', 1));
    const auto bytes = ParseSize(words.first);
    uint64_t weight = 1;
    if (!bytes) return Wrong(text, "sizes are from 512 bytes to 256m, like 2k:50,10k:40");
    if (!words.second.empty() && !absl::SimpleAtoi(words.second, &weight)) weight = 0;
    if (weight < 1 || weight > kWeightMax) return Wrong(text, "weights are from 1 to 1000000");
    weights += weight;
    mix.sizes_bytes_.push_back(*bytes);
    mix.weights_up_to_.push_back(weights);
    if (mix.sizes_bytes_.size() > kSizesMax) return Wrong(text, "at most 64 sizes");
  }
  return mix;
}

size_t SizeMix::Choose(Random& chance) const {
  CHECK(!sizes_bytes_.empty());
  if (sizes_bytes_.size() == 1) return 0;
  const uint64_t throw_of = chance.Below(weights_up_to_.back());
  const auto found = std::upper_bound(weights_up_to_.begin(), weights_up_to_.end(), throw_of);
  return static_cast<size_t>(found - weights_up_to_.begin());
}

}  // namespace sluice::tools
