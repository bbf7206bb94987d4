#include "tools/load/domain_choice.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"

namespace sluice::tools {

absl::StatusOr<DomainChoice> DomainChoice::Parse(absl::string_view distribution,
                                                 std::vector<std::string> domains) {
  CHECK(!domains.empty());
  DomainChoice choice;
  choice.domains_ = std::move(domains);
  if (distribution == "uniform") return choice;
  double exponent = 1;
  absl::string_view rest = distribution;
  const bool zipf = absl::ConsumePrefix(&rest, "zipf");
  const bool given = absl::ConsumePrefix(&rest, ":");
  if (!zipf || (given ? !absl::SimpleAtod(rest, &exponent) : !rest.empty()) ||
      !(exponent > 0 && exponent <= 10)) {
    return absl::InvalidArgumentError(
        absl::StrCat("distribution '", distribution,
                     "': uniform, zipf, or zipf:S with S over 0 and at most 10"));
  }
  double shares = 0;
  for (size_t rank = 1; rank <= choice.domains_.size(); ++rank) {
    shares += std::pow(static_cast<double>(rank), -exponent);
    choice.shares_up_to_.push_back(shares);
  }
  return choice;
}

uint32_t DomainChoice::Choose(Random& chance) const {
  if (domains_.size() == 1) return 0;
  if (shares_up_to_.empty()) return static_cast<uint32_t>(chance.Below(domains_.size()));
  const double throw_of = chance.Fraction() * shares_up_to_.back();
  const auto found = std::upper_bound(shares_up_to_.begin(), shares_up_to_.end(), throw_of);
  const auto index = static_cast<size_t>(found - shares_up_to_.begin());
  return static_cast<uint32_t>(std::min(index, domains_.size() - 1));  // Rounding at the very top.
}

std::vector<std::string> NumberedDomains(uint32_t count) {
  std::vector<std::string> domains;
  domains.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    domains.push_back(absl::StrCat("dest-", absl::Dec(i, absl::kZeroPad4), ".example"));
  }
  return domains;
}

absl::StatusOr<std::vector<std::string>> ReadDomains(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  std::vector<std::string> domains;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty() || text[0] == '#') continue;
    absl::StatusOr<std::string> domain = NormalizeDomain(text);
    if (!domain.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": ", domain.status().message()));
    }
    if (domains.size() == kLoadDomainsMax) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": over 1000000 domains"));
    }
    domains.push_back(*std::move(domain));
  }
  if (domains.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": no domain in it"));
  return domains;
}

}  // namespace sluice::tools
