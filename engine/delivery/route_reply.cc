#include "engine/delivery/route_reply.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/delivery/attempt.h"

namespace sluice::delivery {
namespace {

// Of a route whose hosts a reply lists.
constexpr size_t kHostsNamedMax = 3;

// "a, b, c and 4 more"
std::string HostNames(const dns::Route& route) {
  std::string names;
  const size_t named = std::min(route.hosts.size(), kHostsNamedMax);
  for (size_t i = 0; i < named; ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", route.hosts[i].name);
  }
  const size_t more = route.hosts.size() - named;
  return more == 0 ? names : absl::StrCat(names, " and ", more, " more");
}

}  // namespace

smtp::Reply RouteReply(const dns::Route& route) {
  absl::string_view code = "451 4.4.3";
  switch (route.result) {
    case dns::RouteResult::kFound:
      CHECK(route.result != dns::RouteResult::kFound);
      break;
    case dns::RouteResult::kNoSuchDomain:
      code = "550 5.1.2";
      break;
    case dns::RouteResult::kNullMx:
      code = "556 5.1.10";
      break;
    case dns::RouteResult::kNoHost:
      code = "550 5.4.4";
      break;
    case dns::RouteResult::kRefused:
      code = "550 5.4.6";
      break;
    case dns::RouteResult::kTemporary:
      break;
  }
  return OwnReply(absl::StrCat(code, " ", route.reason));
}

// RFC 3463 3.5: X.4.4 says that the routing information for the next hop is not there, and has a
// name without the record that is sought as its example; X.4.3 would blame the name servers, which
// have answered. 4: another table, or another record, mends it.
smtp::Reply NoAddressReply(const dns::Route& route, Family required) {
  const absl::string_view family = required == Family::kIpv6 ? "IPv6" : "IPv4";
  return OwnReply(absl::StrCat("451 4.4.4 no ", family, " address of ", HostNames(route),
                               ", and the destination requires ", family));
}

smtp::Reply NoSourceFamilyReply(const dns::Route& route, absl::string_view pool) {
  return OwnReply(absl::StrCat("451 4.4.4 no source of ", pool, " has an address of the family of ",
                               HostNames(route)));
}

// RFC 3463 3.4: X.3.5, the system is not configured as it must be to send this.
smtp::Reply NoSourceReply(absl::string_view pool) {
  return OwnReply(absl::StrCat("451 4.3.5 no address of ", pool, " is on this machine now"));
}

}  // namespace sluice::delivery
