#include "engine/dns/routes_table.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/domain_name.h"
#include "engine/base/ip_address.h"
#include "engine/base/limits.h"
#include "engine/dns/limits.h"

namespace sluice::dns {
namespace {

constexpr absl::string_view kAll = "ALL";
constexpr absl::string_view kBlanks = " \t";

absl::Status Wrong(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": \"", absl::Utf8SafeCHexEscape(text), "\""));
}

absl::StatusOr<uint16_t> ParseNumber(absl::string_view text, uint32_t least,
                                     absl::string_view wrong) {
  uint32_t number = 0;
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!digits || !absl::SimpleAtoi(text, &number) || number < least || number > UINT16_MAX) {
    return Wrong(wrong, text);
  }
  return static_cast<uint16_t>(number);
}

absl::StatusOr<uint16_t> ParsePort(absl::string_view text) {
  return ParseNumber(text, 1, "a port is a number from 1 to 65535");
}

// Nobody's host is called 192.0.2.256: such a name is an address with a slip in it.
bool EndsInNumber(absl::string_view name) {
  const absl::string_view last = name.substr(name.rfind('.') + 1);
  return std::all_of(last.begin(), last.end(),
                     [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); });
}

absl::Status SetName(absl::string_view text, TableHost& host) {
  if (const std::optional<IpAddress> address = IpAddress::Parse(text)) {
    host.name = address->ToString();
    host.literal = true;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> name = NormalizeDomain(text);
  if (!name.ok()) {
    return Wrong(absl::StrCat("a host is a name or an IP address (", name.status().message(), ")"),
                 text);
  }
  if (EndsInNumber(*name)) return Wrong("a host is a name or an IP address", text);
  host.name = *std::move(name);
  return absl::OkStatus();
}

// "[192.0.2.25]", "[2001:db8::25]:26"; also with the "IPv6:" of an address literal.
absl::Status SetBracketed(absl::string_view text, TableHost& host) {
  const size_t close = text.find(']');
  if (close == absl::string_view::npos) return Wrong("a bracket has no end", text);
  absl::string_view inside = text.substr(1, close - 1);
  if (absl::StartsWithIgnoreCase(inside, "IPv6:")) inside.remove_prefix(5);
  const std::optional<IpAddress> address = IpAddress::Parse(inside);
  if (!address) return Wrong("only an IP address stands in brackets", text);
  host.name = address->ToString();
  host.literal = true;

  absl::string_view rest = text.substr(close + 1);
  if (rest.empty()) return absl::OkStatus();
  if (!absl::ConsumePrefix(&rest, ":")) return Wrong("after a bracket comes \":port\"", text);
  absl::StatusOr<uint16_t> port = ParsePort(rest);
  if (!port.ok()) return port.status();
  host.port = *port;
  return absl::OkStatus();
}

// "mx1.example.net", "mx1.example.net:2525", "192.0.2.25:26", "2001:db8::25".
absl::Status SetPlain(absl::string_view text, TableHost& host) {
  const size_t colon = text.find(':');
  if (colon == absl::string_view::npos) return SetName(text, host);
  if (text.find(':', colon + 1) != absl::string_view::npos) {
    if (!IpAddress::Parse(text)) {
      return Wrong("an IPv6 address with a port is written [address]:port", text);
    }
    return SetName(text, host);
  }
  absl::StatusOr<uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port.ok()) return port.status();
  host.port = *port;
  return SetName(text.substr(0, colon), host);
}

absl::StatusOr<TableHost> ParseHost(absl::string_view text, uint16_t default_port) {
  TableHost host;
  host.port = default_port;
  if (const size_t slash = text.find('/'); slash != absl::string_view::npos) {
    absl::string_view suffix = text.substr(slash);
    if (!absl::ConsumePrefix(&suffix, "/pri=")) {
      return Wrong("after a host only \"/pri=N\" is known", text);
    }
    absl::StatusOr<uint16_t> preference =
        ParseNumber(suffix, 0, "a preference is a number from 0 to 65535");
    if (!preference.ok()) return preference.status();
    host.preference = *preference;
    text = text.substr(0, slash);
  }
  if (text.empty()) return absl::InvalidArgumentError("a host is missing");
  if (text.find_first_of(kBlanks) != absl::string_view::npos) {
    return Wrong("hosts are separated by commas", text);
  }
  // Other products' word for "by its MX records": taken for a host's name it would hold mail back.
  if (absl::EqualsIgnoreCase(text, "USEDNS")) return Wrong("this is not supported", text);
  const absl::Status named = text[0] == '[' ? SetBracketed(text, host) : SetPlain(text, host);
  if (!named.ok()) return named;
  return host;
}

absl::StatusOr<std::vector<TableHost>> ParseHosts(absl::string_view text, uint16_t default_port) {
  std::vector<TableHost> hosts;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    absl::StatusOr<TableHost> host = ParseHost(absl::StripAsciiWhitespace(part), default_port);
    if (!host.ok()) return host.status();
    const bool twice = std::any_of(hosts.begin(), hosts.end(), [&](const TableHost& other) {
      return other.name == host->name && other.port == host->port;
    });
    if (twice) return Wrong("a host is named twice", host->name);
    if (hosts.size() == limits::kRouteHostsMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("a route has at most ", limits::kRouteHostsMax, " hosts"));
    }
    hosts.push_back(*std::move(host));
  }
  return hosts;
}

}  // namespace

RoutesTable RoutesTable::Parse(absl::string_view text, uint16_t default_port,
                               std::vector<RoutesError>& errors) {
  RoutesTable table;
  int number = 0;
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");  // Some editors begin UTF-8 with a mark.
  for (const absl::string_view whole : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(whole.substr(0, whole.find('#')));
    if (line.empty()) continue;
    const size_t gap = std::min(line.find_first_of(kBlanks), line.size());
    const absl::string_view destination = line.substr(0, gap);
    absl::StatusOr<std::vector<TableHost>> hosts =
        ParseHosts(absl::StripAsciiWhitespace(line.substr(gap)), default_port);
    if (!hosts.ok()) errors.push_back({number, std::string(hosts.status().message())});
    // Added even without hosts, so that a faulty name on the same line is said too.
    const absl::Status added =
        table.Add(destination, hosts.ok() ? *std::move(hosts) : std::vector<TableHost>());
    if (!added.ok()) errors.push_back({number, std::string(added.message())});
    if (absl::IsResourceExhausted(added)) break;
  }
  return table;
}

absl::Status RoutesTable::Add(absl::string_view destination, std::vector<TableHost> hosts) {
  if (size() == kRoutesMax) {
    return absl::ResourceExhaustedError(absl::StrCat("at most ", kRoutesMax, " routes are taken"));
  }
  if (absl::EqualsIgnoreCase(destination, kAll)) {
    if (!all_.empty()) return Wrong("a destination stands here for the second time", destination);
    all_ = std::move(hosts);
    return absl::OkStatus();
  }
  absl::string_view domain = destination;
  const bool partial = absl::ConsumePrefix(&domain, ".");
  absl::StatusOr<std::string> normal = NormalizeDomain(domain);
  if (!normal.ok() || (partial && IsAddressLiteral(*normal))) {
    const absl::string_view why = normal.ok() ? "" : normal.status().message();
    return Wrong(absl::StrCat("a destination is a domain, a partial domain or ALL",
                              why.empty() ? "" : " (", why, why.empty() ? "" : ")"),
                 destination);
  }
  auto& map = partial ? partial_ : exact_;
  const std::string key = partial ? absl::StrCat(".", *normal) : *std::move(normal);
  if (!map.emplace(key, std::move(hosts)).second) {
    return Wrong("a destination stands here for the second time", destination);
  }
  return absl::OkStatus();
}

const std::vector<TableHost>* RoutesTable::Lookup(absl::string_view domain) const {
  if (const auto found = exact_.find(domain); found != exact_.end()) return &found->second;
  if (!partial_.empty() && !IsAddressLiteral(domain)) {
    for (size_t dot = domain.find('.'); dot != absl::string_view::npos;
         dot = domain.find('.', dot + 1)) {
      const auto found = partial_.find(domain.substr(dot));
      if (found != partial_.end()) return &found->second;
    }
  }
  return all_.empty() ? nullptr : &all_;
}

}  // namespace sluice::dns
