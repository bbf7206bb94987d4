#include "policy/sources.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"

namespace sluice::policy {
namespace {

constexpr absl::string_view kNullSender = "<>";

struct Mailbox {
  std::string local_part;  // In lower case.
  std::string domain;      // Normalised; empty where it is none.
};

Mailbox Split(absl::string_view sender) {
  const size_t at = sender.rfind('@');
  Mailbox mailbox = {.local_part = absl::AsciiStrToLower(sender.substr(0, at))};
  if (at == absl::string_view::npos) return mailbox;
  absl::StatusOr<std::string> domain = NormalizeDomain(sender.substr(at + 1));
  if (domain.ok()) mailbox.domain = *std::move(domain);
  return mailbox;
}

template <class Map>
const uint32_t* Find(const Map& map, absl::string_view key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

}  // namespace

bool Source::has(Family family) const {
  return name.empty() || (family == Family::kIpv4 ? ipv4 : ipv6).family != Family::kNone;
}

const IpAddress& Source::AddressOf(Family family) const {
  return family == Family::kIpv4 ? ipv4 : ipv6;
}

std::optional<SourceRule> ParseSourceRule(absl::string_view text) {
  if (text == kNullSender) {
    return SourceRule{.kind = SourceRuleKind::kSender, .text = std::string(text)};
  }
  const size_t at = text.rfind('@');
  if (at == absl::string_view::npos) {
    const absl::StatusOr<Network> network = Network::Parse(text);
    if (!network.ok()) return std::nullopt;
    return SourceRule{.kind = SourceRuleKind::kClient, .client = *network};
  }
  const std::string local_part = absl::AsciiStrToLower(text.substr(0, at));
  absl::string_view rest = text.substr(at + 1);
  if (rest.empty()) {
    if (local_part.empty()) return std::nullopt;
    return SourceRule{.kind = SourceRuleKind::kLocalPart, .text = local_part};
  }
  const bool partial = local_part.empty() && absl::ConsumePrefix(&rest, ".");
  const absl::StatusOr<std::string> domain = NormalizeDomain(rest);
  if (!domain.ok()) return std::nullopt;
  if (partial) {
    return SourceRule{.kind = SourceRuleKind::kPartialDomain, .text = absl::StrCat(".", *domain)};
  }
  if (local_part.empty()) return SourceRule{.kind = SourceRuleKind::kDomain, .text = *domain};
  return SourceRule{.kind = SourceRuleKind::kSender,
                    .text = absl::StrCat(local_part, "@", *domain)};
}

Sources::Sources() {
  sources_.emplace_back();
  pools_.push_back({.members = {{.source = 0}}});
}

uint32_t Sources::AddSource(Source source) {
  const auto index = static_cast<uint32_t>(sources_.size());
  AddPool({.name = source.name, .members = {{.source = index}}});
  sources_.push_back(std::move(source));
  return index;
}

uint32_t Sources::AddPool(SourcePool pool) {
  CHECK(!pool.name.empty());
  CHECK(!FindPool(pool.name));
  CHECK(!pool.members.empty());
  pools_.push_back(std::move(pool));
  return static_cast<uint32_t>(pools_.size() - 1);
}

void Sources::AddRule(SourceRule rule) {
  CHECK(rule.pool < pools_.size());
  const auto longer = [&](const auto& client) {
    return client.first.prefix_bits < rule.client.prefix_bits;
  };
  switch (rule.kind) {
    case SourceRuleKind::kClient:
      clients_.insert(std::find_if(clients_.begin(), clients_.end(), longer),
                      {rule.client, rule.pool});
      return;
    case SourceRuleKind::kSender:
      senders_.try_emplace(std::move(rule.text), rule.pool);
      return;
    case SourceRuleKind::kLocalPart:
      local_parts_.try_emplace(std::move(rule.text), rule.pool);
      return;
    case SourceRuleKind::kDomain:
      domains_.try_emplace(std::move(rule.text), rule.pool);
      return;
    case SourceRuleKind::kPartialDomain:
      partial_domains_.try_emplace(std::move(rule.text), rule.pool);
      return;
  }
}

std::optional<uint32_t> Sources::FindSource(absl::string_view name) const {
  for (uint32_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i].name == name) return i;
  }
  return std::nullopt;
}

std::optional<uint32_t> Sources::FindPool(absl::string_view name) const {
  for (uint32_t i = 0; i < pools_.size(); ++i) {
    if (pools_[i].name == name) return i;
  }
  return std::nullopt;
}

uint32_t Sources::PoolFor(const IpAddress& client, absl::string_view sender) const {
  for (const auto& [network, pool] : clients_) {
    if (client.family != Family::kNone && network.Contains(client)) return pool;
  }
  if (sender.empty()) {
    const uint32_t* pool = Find(senders_, kNullSender);
    return pool != nullptr ? *pool : default_pool_;
  }
  const Mailbox mailbox = Split(sender);
  const std::string whole = absl::StrCat(mailbox.local_part, "@", mailbox.domain);
  if (const uint32_t* pool = Find(senders_, whole)) return *pool;
  if (const uint32_t* pool = Find(local_parts_, mailbox.local_part)) return *pool;
  if (const uint32_t* pool = Find(domains_, mailbox.domain)) return *pool;
  const absl::string_view domain = mailbox.domain;
  for (size_t dot = domain.find('.'); dot != absl::string_view::npos;
       dot = domain.find('.', dot + 1)) {
    if (const uint32_t* pool = Find(partial_domains_, domain.substr(dot))) return *pool;
  }
  return default_pool_;
}

}  // namespace sluice::policy
