#include "engine/dns/route_lookup.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "engine/base/limits.h"
#include "engine/dns/limits.h"

namespace sluice::dns {
namespace {

absl::string_view TypeName(RecordType type) {
  switch (type) {
    case RecordType::kA:
      return "A";
    case RecordType::kMx:
      return "MX";
    case RecordType::kAaaa:
      return "AAAA";
  }
  CHECK(!"a record type of ours");
  return {};
}

std::optional<IpAddress> AddressOfLiteral(absl::string_view literal) {
  absl::ConsumePrefix(&literal, "[");
  absl::ConsumeSuffix(&literal, "]");
  if (absl::StartsWithIgnoreCase(literal, "IPv6:")) literal.remove_prefix(5);
  return IpAddress::Parse(literal);
}

// A host that stands in the set twice keeps its best preference.
void DropRepeatedNames(std::vector<MxRecord>& sorted) {
  std::vector<MxRecord> kept;
  for (MxRecord& record : sorted) {
    const bool repeated = std::any_of(
        kept.begin(), kept.end(), [&](const MxRecord& other) { return other.name == record.name; });
    if (!repeated) kept.push_back(std::move(record));
    if (kept.size() == limits::kRouteHostsMax) break;  // Which also bounds the comparisons.
  }
  sorted = std::move(kept);
}

}  // namespace

RouteLookup::RouteLookup(const RouteRules& rules, std::string domain,
                         const std::vector<TableHost>* table)
    : rules_(rules), domain_(std::move(domain)), from_table_(table != nullptr) {
  if (table != nullptr) {
    BeginTable(*table);
  } else if (IsAddressLiteral(domain_)) {
    BeginLiteral();
  } else {
    BeginMx();
  }
}

void RouteLookup::BeginTable(const std::vector<TableHost>& table) {
  for (const TableHost& host : table) {
    hosts_.push_back({.route = {.name = host.name,
                                .preference = host.preference,
                                .port = host.port,
                                .addresses = {}}});
    if (host.literal) {
      const std::optional<IpAddress> address = IpAddress::Parse(host.name);
      CHECK(address.has_value());
      hosts_.back().route.addresses.push_back(*address);
    } else {
      AskAddresses(hosts_.size() - 1);
    }
  }
  FinishWhenAnswered();
}

void RouteLookup::BeginLiteral() {
  const std::optional<IpAddress> address = AddressOfLiteral(domain_);
  if (!address) {
    return End(RouteResult::kNoSuchDomain, absl::StrCat(domain_, " is not an address"),
               kNegativeTtlMax);
  }
  hosts_.push_back({.route = {.name = address->ToString(),
                              .preference = 0,
                              .port = rules_.delivery_port,
                              .addresses = {}}});
  AddAddress(hosts_.back(), *address);
  FinishWhenAnswered();
}

void RouteLookup::BeginMx() {
  // Who asks has normalised the name; a name out of an old spool may still be one that no DNS can
  // have.
  const absl::StatusOr<std::string> normal = NormalizeDomain(domain_);
  if (!normal.ok()) {
    return End(RouteResult::kNoSuchDomain,
               absl::StrCat("not a domain name: ", normal.status().message()), kNegativeTtlMax);
  }
  Ask(domain_, RecordType::kMx, 0);
}

void RouteLookup::Ask(absl::string_view name, RecordType type, size_t host) {
  to_ask_.push_back(
      {.number = static_cast<uint32_t>(asked_.size()), .name = std::string(name), .type = type});
  asked_.push_back({.type = type, .host = host});
  ++unanswered_;
}

void RouteLookup::AskAddresses(size_t host) {
  Ask(hosts_[host].route.name, RecordType::kAaaa, host);
  Ask(hosts_[host].route.name, RecordType::kA, host);
}

std::vector<DnsQuestion> RouteLookup::TakeQuestions() {
  return std::exchange(to_ask_, {});
}

void RouteLookup::OnAnswer(uint32_t question, const DnsAnswer& answer) {
  CHECK(!done_);
  CHECK(question < asked_.size());
  CHECK(!asked_[question].answered);
  asked_[question].answered = true;
  --unanswered_;
  const Asked asked = asked_[question];
  if (answer.result == DnsAnswer::Result::kFailed && failure_.empty()) {
    failure_ = absl::StrCat("no answer about the ", TypeName(asked.type), " records of ",
                            NameOf(asked), ": ", answer.failure);
  }
  switch (asked.type) {
    case RecordType::kMx:
      OnMx(answer);
      break;
    case RecordType::kA:
    case RecordType::kAaaa:
      OnAddresses(asked, answer);
      break;
  }
  if (!done_) FinishWhenAnswered();
}

void RouteLookup::OnBudgetSpent() {
  CHECK(!done_);
  const DnsAnswer late = DnsAnswer::Failed("none in time");
  for (uint32_t question = 0; question < asked_.size() && !done_; ++question) {
    if (!asked_[question].answered) OnAnswer(question, late);
  }
  CHECK(done_);
}

Route RouteLookup::TakeRoute() {
  CHECK(done_);
  return std::move(route_);
}

std::string RouteLookup::NameOf(const Asked& asked) const {
  return asked.type == RecordType::kMx ? domain_ : hosts_[asked.host].route.name;
}

void RouteLookup::OnMx(const DnsAnswer& answer) {
  switch (answer.result) {
    case DnsAnswer::Result::kRecords:
      ttl_ = std::min(ttl_, answer.ttl);
      return OnMxRecords(answer);
    case DnsAnswer::Result::kNoRecords:
      ttl_ = std::min(ttl_, answer.ttl);
      return KeepMxHosts({{.preference = 0, .name = domain_}});  // Implicit MX, RFC 5321 5.1.
    case DnsAnswer::Result::kNoSuchName:
      return End(RouteResult::kNoSuchDomain, absl::StrCat("there is no domain ", domain_),
                 std::clamp(answer.ttl, kRouteTtlMin, kNegativeTtlMax));
    case DnsAnswer::Result::kFailed:
      return End(RouteResult::kTemporary, failure_, kTemporaryTtl);
  }
}

void RouteLookup::OnMxRecords(const DnsAnswer& answer) {
  std::vector<MxRecord> records;
  size_t roots = 0;
  for (const std::string& rdata : answer.records) {
    std::optional<MxRecord> record = ParseMx(rdata);
    if (!record) continue;  // No host can have that name, so none is lost.
    if (record->name.empty()) {
      ++roots;  // Among others it is not a null MX, and unusable (C74).
      continue;
    }
    records.push_back(*std::move(record));
  }
  if (roots > 0 && roots == answer.records.size()) {
    return End(RouteResult::kNullMx, absl::StrCat(domain_, " takes no mail (null MX)"),
               std::clamp(answer.ttl, kRouteTtlMin, kNegativeTtlMax));
  }
  KeepMxHosts(std::move(records));
}

void RouteLookup::KeepMxHosts(std::vector<MxRecord> records) {
  std::stable_sort(records.begin(), records.end(), [](const MxRecord& a, const MxRecord& b) {
    return a.preference < b.preference;
  });
  DropOurselvesByName(records);
  DropRepeatedNames(records);
  for (MxRecord& record : records) {
    hosts_.push_back({.route = {.name = std::move(record.name),
                                .preference = record.preference,
                                .port = rules_.delivery_port,
                                .addresses = {}}});
    AskAddresses(hosts_.size() - 1);
  }
}

void RouteLookup::DropOurselvesByName(std::vector<MxRecord>& records) {
  const auto ours = std::find_if(records.begin(), records.end(),
                                 [&](const MxRecord& record) { return OwnsName(record.name); });
  if (ours == records.end()) return;
  loops_ = true;
  const uint16_t preference = ours->preference;
  std::erase_if(records, [&](const MxRecord& record) { return record.preference >= preference; });
}

void RouteLookup::OnAddresses(const Asked& asked, const DnsAnswer& answer) {
  Host& host = hosts_[asked.host];
  switch (answer.result) {
    case DnsAnswer::Result::kRecords:
      ttl_ = std::min(ttl_, answer.ttl);
      break;
    case DnsAnswer::Result::kNoRecords:
    case DnsAnswer::Result::kNoSuchName:
      negative_ttl_ = std::min(negative_ttl_, answer.ttl);
      return;
    case DnsAnswer::Result::kFailed:
      host.failed = true;
      return;
  }
  size_t looked_at = 0;
  for (const std::string& rdata : answer.records) {
    if (looked_at++ == kAddressesPerFamilyMax) break;
    const std::optional<IpAddress> address =
        asked.type == RecordType::kA ? ParseA(rdata) : ParseAaaa(rdata);
    if (address) AddAddress(host, *address);
  }
}

void RouteLookup::AddAddress(Host& host, const IpAddress& address) {
  if (!MayConnect(address)) {
    if (refused_.empty()) {
      refused_ = absl::StrCat(host.route.name, " has the address ", address.ToString(),
                              ", which mail is not sent to");
    }
    return;
  }
  std::vector<IpAddress>& addresses = host.route.addresses;
  if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
    addresses.push_back(address);
  }
}

void RouteLookup::FinishWhenAnswered() {
  if (unanswered_ == 0) Finish();
}

void RouteLookup::Finish() {
  if (!from_table_) DropOurselvesByAddress();
  const bool found = std::any_of(hosts_.begin(), hosts_.end(),
                                 [](const Host& host) { return !host.route.addresses.empty(); });
  if (found) {
    FinishFound();
  } else {
    FinishWithoutHosts();
  }
}

// Works on hosts whose addresses are known, so it comes last: a name of somebody else's may well
// lead to one of our addresses.
void RouteLookup::DropOurselvesByAddress() {
  const auto is_ours = [&](const Host& host) {
    return std::any_of(host.route.addresses.begin(), host.route.addresses.end(),
                       [&](const IpAddress& address) { return OwnsAddress(address); });
  };
  const auto ours = std::find_if(hosts_.begin(), hosts_.end(), is_ours);
  if (ours == hosts_.end()) return;
  loops_ = true;
  const uint16_t preference = ours->route.preference;  // The least: the hosts are sorted.
  std::erase_if(hosts_, [&](const Host& host) { return host.route.preference >= preference; });
}

void RouteLookup::FinishFound() {
  for (Host& host : hosts_) {
    if (!host.route.addresses.empty()) {
      route_.hosts.push_back(std::move(host.route));
    } else if (host.failed) {
      ttl_ = std::min(ttl_, kTemporaryTtl);  // Incomplete: look again soon.
    }
  }
  std::stable_sort(
      route_.hosts.begin(), route_.hosts.end(),
      [](const RouteHost& a, const RouteHost& b) { return a.preference < b.preference; });
  const bool for_ever = ttl_ == Duration::max();
  End(RouteResult::kFound, {}, for_ever ? ttl_ : std::clamp(ttl_, kRouteTtlMin, kRouteTtlMax));
}

// The order of these matters: nothing permanent is said while an answer is missing (R4), and the
// operator's own table is mended, not bounced on (M5).
void RouteLookup::FinishWithoutHosts() {
  if (from_table_) {
    return End(RouteResult::kTemporary,
               failure_.empty() ? absl::StrCat("no host of the route of ", domain_,
                                               " in the routes table has an address")
                                : failure_,
               kTemporaryTtl);
  }
  const bool lost =
      std::any_of(hosts_.begin(), hosts_.end(), [](const Host& h) { return h.failed; });
  if (lost) return End(RouteResult::kTemporary, failure_, kTemporaryTtl);

  const Duration ttl =
      std::clamp(std::min(ttl_, negative_ttl_), kRouteTtlMin, Duration(kNegativeTtlMax));
  if (loops_) {
    return End(RouteResult::kRefused, absl::StrCat("mail for ", domain_, " loops back to myself"),
               ttl);
  }
  if (!refused_.empty()) return End(RouteResult::kRefused, refused_, ttl);
  End(RouteResult::kNoHost, absl::StrCat("no mail host of ", domain_, " has an address"), ttl);
}

void RouteLookup::End(RouteResult result, std::string reason, Duration ttl) {
  CHECK(!done_);
  CHECK((result == RouteResult::kFound) == !route_.hosts.empty());
  CHECK((result == RouteResult::kFound) == reason.empty());
  done_ = true;
  to_ask_.clear();
  route_.result = result;
  route_.reason = std::move(reason);
  route_.ttl = ttl;
  route_.from_table = from_table_;
}

bool RouteLookup::OwnsName(absl::string_view name) const {
  return std::any_of(rules_.own_names.begin(), rules_.own_names.end(),
                     [&](const std::string& own) { return own == name; });
}

bool RouteLookup::OwnsAddress(const IpAddress& address) const {
  const auto& own = rules_.own_addresses;
  return std::find(own.begin(), own.end(), address) != own.end() &&
         !AnyContains(rules_.allow_addresses, address);
}

bool RouteLookup::MayConnect(const IpAddress& address) const {
  return from_table_ || !address.IsSpecial() || AnyContains(rules_.allow_addresses, address);
}

}  // namespace sluice::dns
