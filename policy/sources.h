// Sources (virtual gateways): the local addresses and EHLO names that mail can leave by, the pools
// of them, and the rules that say which pool a sender's mail leaves by.
//
// Source 0 and pool 0 are always there: the system chooses the address, and the EHLO name is the
// engine's. A source is also a pool of one, of its own name. Immutable once built; shards share it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"

namespace sluice::policy {

struct Source {
  std::string name;      // Empty: source 0.
  IpAddress ipv4;        // Family kNone: it has none. Source 0 has neither, and may use both
  IpAddress ipv6;        // families.
  std::string hostname;  // In EHLO; empty: the engine's.

  bool has(Family family) const;
  // What a socket of that family is bound to; family kNone: the system chooses.
  const IpAddress& AddressOf(Family family) const;
};

struct SourceShare {
  uint32_t source = 0;
  uint32_t weight = 1;  // Of new connections, in relation to the others'; at least 1.
};

struct SourcePool {
  std::string name;  // Empty: pool 0.
  std::vector<SourceShare> members;
};

// What a rule is about, in the order in which they are tried: the appliance's.
enum class SourceRuleKind : uint8_t {
  kClient,         // "192.0.2.7", "192.0.2.0/24": who injected it; the longest prefix wins.
  kSender,         // "news@example.com": the whole reverse-path; "<>": the null one.
  kLocalPart,      // "news@"
  kDomain,         // "@example.com"
  kPartialDomain,  // "@.example.com": the longest wins.
};

struct SourceRule {
  SourceRuleKind kind{};
  Network client;    // kClient.
  std::string text;  // The others': normalised, without the "@" that marks the kind.
  uint32_t pool = 0;
};

// The rule that a text names; nullopt: it is none. Local parts are compared in any case, since an
// operator who writes "News@" does not mean to leave out "news@".
std::optional<SourceRule> ParseSourceRule(absl::string_view text);

class Sources {
 public:
  Sources();  // Source 0 and pool 0 alone.

  // Names must be distinct among sources and pools, and not empty.
  uint32_t AddSource(Source source);
  uint32_t AddPool(SourcePool pool);
  void AddRule(SourceRule rule);
  void SetDefaultPool(uint32_t pool) { default_pool_ = pool; }

  const Source& source(uint32_t index) const { return sources_[index]; }
  size_t sources() const { return sources_.size(); }
  const SourcePool& pool(uint32_t index) const { return pools_[index]; }
  size_t pools() const { return pools_.size(); }
  std::optional<uint32_t> FindSource(absl::string_view name) const;
  std::optional<uint32_t> FindPool(absl::string_view name) const;
  // For mail that no rule speaks of.
  uint32_t default_pool() const { return default_pool_; }

  // The pool by which a message leaves. `client` is who injected it (family kNone: it is our own);
  // `sender` its reverse-path, empty for the null one.
  uint32_t PoolFor(const IpAddress& client, absl::string_view sender) const;

 private:
  using PoolByText = absl::flat_hash_map<std::string, uint32_t>;

  std::vector<Source> sources_;
  std::vector<SourcePool> pools_;
  uint32_t default_pool_ = 0;
  std::vector<std::pair<Network, uint32_t>> clients_;  // The longest prefix first.
  PoolByText senders_;
  PoolByText local_parts_;
  PoolByText domains_;
  PoolByText partial_domains_;  // With their leading dot.
};

}  // namespace sluice::policy
