// Which destinations the messages go to: a list of domains, and how the load falls on them.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/random.h"

namespace sluice::tools {

inline constexpr uint32_t kLoadDomainsMax = 1'000'000;

class DomainChoice {
 public:
  // "uniform", or "zipf" with its exponent: "zipf:1.1" (1 when not given). The domain of rank r, in
  // the order of the list, gets a share proportional to r^-s.
  static absl::StatusOr<DomainChoice> Parse(absl::string_view distribution,
                                            std::vector<std::string> domains);

  const std::vector<std::string>& domains() const { return domains_; }

  // An index into domains().
  uint32_t Choose(Random& chance) const;

 private:
  std::vector<std::string> domains_;
  std::vector<double> shares_up_to_;  // Empty: uniform.
};

// "dest-0000.example" and on.
std::vector<std::string> NumberedDomains(uint32_t count);

// One domain a line; empty lines and those that begin with '#' are skipped.
absl::StatusOr<std::vector<std::string>> ReadDomains(const std::string& path);

}  // namespace sluice::tools
