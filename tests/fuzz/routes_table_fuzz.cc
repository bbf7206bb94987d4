// Any bytes as a routes table: it is parsed or refused, its errors name lines that exist, and a
// table without errors finds every destination that the text names, with hosts that can be used.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "engine/base/ip_address.h"
#include "engine/base/limits.h"
#include "engine/dns/routes_table.h"

namespace sluice::dns {
namespace {

void CheckHosts(const std::vector<TableHost>& hosts) {
  CHECK(!hosts.empty());
  CHECK(hosts.size() <= limits::kRouteHostsMax);
  for (const TableHost& host : hosts) {
    CHECK(host.port > 0);
    CHECK(host.literal == IpAddress::Parse(host.name).has_value());
    if (!host.literal) CHECK(*NormalizeDomain(host.name) == host.name);
  }
}

}  // namespace
}  // namespace sluice::dns

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  std::vector<dns::RoutesError> errors;
  const dns::RoutesTable table = dns::RoutesTable::Parse(text, 25, errors);
  for (const dns::RoutesError& error : errors) {
    CHECK(error.line >= 1 && static_cast<size_t>(error.line) <= lines.size());
    CHECK(!error.text.empty());
  }
  if (!errors.empty()) return 0;

  CHECK(table.size() <= lines.size());
  for (const absl::string_view line : lines) {
    const absl::string_view destination =
        absl::StripAsciiWhitespace(line.substr(0, line.find_first_of("# \t")));
    const auto domain = NormalizeDomain(destination);
    const auto* hosts = table.Lookup(domain.ok() ? absl::string_view(*domain) : destination);
    if (hosts != nullptr) dns::CheckHosts(*hosts);
  }
  return 0;
}
