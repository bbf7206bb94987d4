#include "policy/controls_table.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"

#include "engine/base/check.h"

namespace sluice::policy {
namespace {

void InheritRecipients(const std::optional<uint32_t>& most, const std::optional<uint32_t>& minutes,
                       Limits& limits) {
  CHECK(most.has_value() == minutes.has_value());
  if (!most) return;
  limits.recipients_limited = true;
  limits.recipients_max = *most;
  limits.recipient_period = std::chrono::minutes(*minutes);
  CHECK(limits.recipient_period > Duration::zero());
}

// Field by field: what the entry says, else what it inherits.
Controls Inherit(const ControlsEntry& entry, Controls controls) {
  const auto take = [](const auto& said, auto& field) {
    if (said) field = *said;
  };
  take(entry.connections_max, controls.limits.connections_max);
  InheritRecipients(entry.recipients_max, entry.recipient_minutes, controls.limits);
  take(entry.limits_each_address, controls.scope.each_address);
  take(entry.limits_each_source, controls.scope.each_source);
  take(entry.system_connections_max, controls.system.connections_max);
  InheritRecipients(entry.system_recipients_max, entry.system_recipient_minutes, controls.system);
  take(entry.messages_per_connection_max, controls.messages_per_connection_max);
  take(entry.ip_preference, controls.ip_preference);
  controls.tls = InheritTls(entry.tls, std::move(controls.tls));
  take(entry.tag_sender, controls.tag_sender);
  take(entry.bounce_profile, controls.bounce_profile);
  CHECK(controls.limits.connections_max > 0);
  CHECK(controls.system.connections_max > 0);
  CHECK(controls.messages_per_connection_max > 0);
  return controls;
}

// A field that is added is bound here, or this does not compile: forgotten, it would make entries
// that differ in it alone meet in one place of the sets below.
size_t HashOf(const TlsControls& tls) {
  const auto& [level, version_min, sni, accept_cn, alert, broken_memory, ca_file, certificate] =
      tls;
  return absl::HashOf(level, version_min, sni, accept_cn, alert, broken_memory.count(), ca_file,
                      certificate);
}

size_t HashOf(const Limits& limits) {
  const auto& [connections, limited, recipients, period] = limits;
  return absl::HashOf(connections, limited, recipients, period.count());
}

size_t HashOf(const Controls& controls) {
  const auto& [limits, scope, system, messages, ip, tls, tag_sender, bounce_profile] = controls;
  return absl::HashOf(HashOf(limits), scope.each_address, scope.each_source, HashOf(system),
                      messages, ip, HashOf(tls), tag_sender, bounce_profile);
}

// Values that are kept once each, in the order in which they came.
template <class T, class Allocator>
class Distinct {
 public:
  using Values = std::vector<T, Allocator>;

  explicit Distinct(Values& values) : indexes_(0, Hash{values}, Equal{values}), values_(values) {}

  uint32_t IndexOf(const T& value) {
    const auto found = indexes_.find(value);
    if (found != indexes_.end()) return *found;
    const auto index = static_cast<uint32_t>(values_.size());
    values_.push_back(value);
    indexes_.insert(index);
    return index;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(const T& value) const { return HashOf(value); }
    size_t operator()(uint32_t index) const { return HashOf(values[index]); }
    const Values& values;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t a, const T& b) const { return values[a] == b; }
    bool operator()(const T& a, uint32_t b) const { return a == values[b]; }
    const Values& values;
  };

  absl::flat_hash_set<uint32_t, Hash, Equal> indexes_;
  Values& values_;
};

using ControlsList = std::vector<Controls, HugePageAllocator<Controls>>;
using DistinctControls = Distinct<Controls, HugePageAllocator<Controls>>;
using DistinctTlsControls = Distinct<TlsControls, std::allocator<TlsControls>>;

// A change is kept beside the base until there are more than these, or a 64th of the base: then a
// look-up in it would leave the processor's own cache, and copying it would take longer than the
// handing over to the shards.
constexpr size_t kOverlayLeast = 16;
constexpr size_t kOverlayShare = 64;

}  // namespace

struct ControlsTable::Base {
  explicit Base(const FingerprintKey& with_key) : key(with_key) {}

  size_t size() const { return domains.exact.size() + domains.partial.size(); }
  void Finish();

  const FingerprintKey key;
  Controls by_default;
  Domains domains;                 // Indexes of `controls`.
  ControlsList controls;           // Different ones.
  std::vector<TlsControls> tls;    // Different ones, and of each
  std::vector<uint32_t> tls_uses;  // how many entries have it.
  std::vector<uint32_t> tls_of;    // By index of `controls`.
};

void ControlsTable::Base::Finish() {
  controls.shrink_to_fit();
  DistinctTlsControls distinct(tls);
  for (const Controls& each : controls) tls_of.push_back(distinct.IndexOf(each.tls));
  tls_of.shrink_to_fit();
  tls_uses.resize(tls.size());
  const auto count = [this](const Fingerprint&, uint32_t index) { ++tls_uses[tls_of[index]]; };
  domains.exact.ForEach(count);
  domains.partial.ForEach(count);
}

FingerprintMap& ControlsTable::Domains::MapOf(absl::string_view domain) {
  if (domain.front() != '.') return exact;
  partial_sizes.set(std::min(domain.size(), partial_sizes.size() - 1));
  return partial;
}

ControlsTable::ControlsTable(const std::vector<ControlsEntry>& entries, uint64_t version,
                             const FingerprintKey& key)
    : version_(version) {
  auto base = std::make_shared<Base>(key);
  bool default_given = false;
  for (const ControlsEntry& entry : entries) {
    if (!entry.domain.empty()) continue;
    CHECK(!default_given);
    default_given = true;
    base->by_default = Inherit(entry, Controls{});
  }
  const size_t exact = static_cast<size_t>(
      std::count_if(entries.begin(), entries.end(), [](const ControlsEntry& entry) {
        return !entry.domain.empty() && entry.domain.front() != '.';
      }));
  base->domains.exact.Reserve(exact);
  base->domains.partial.Reserve(entries.size() - exact);
  DistinctControls distinct(base->controls);
  for (const ControlsEntry& entry : entries) {
    if (entry.domain.empty()) continue;
    const uint32_t index = distinct.IndexOf(Inherit(entry, base->by_default));
    const bool named_once =
        base->domains.MapOf(entry.domain).Put(FingerprintOf(entry.domain, base->key), index);
    CHECK(named_once);
  }
  base->Finish();
  size_ = base->size();
  base_ = std::move(base);
}

ControlsTable::ControlsTable(const ControlsTable& older, const ControlsChange& change,
                             uint64_t version)
    : version_(version), size_(older.size_), base_(older.base_), overlay_(older.overlay_) {
  for (const std::string& domain : change.removed) Remove(domain);
  for (const ControlsEntry& entry : change.put) Put(entry);
  const size_t changed = std::max(overlay_.controls.size(),
                                  overlay_.domains.exact.size() + overlay_.domains.partial.size());
  if (changed <= std::max(kOverlayLeast, base_->size() / kOverlayShare)) return;
  base_ = Consolidated();
  overlay_ = Overlay();
}

void ControlsTable::Put(const ControlsEntry& entry) {
  CHECK(!entry.domain.empty());
  const Fingerprint fingerprint = FingerprintOf(entry.domain, base_->key);
  if (!Has(entry.domain)) ++size_;
  FingerprintMap& map = overlay_.domains.MapOf(entry.domain);
  const std::optional<uint32_t> before = map.Find(fingerprint);
  Controls controls = Inherit(entry, base_->by_default);
  if (before && *before != kRemoved) {
    overlay_.controls[*before] = controls;
    return;
  }
  map.Put(fingerprint, static_cast<uint32_t>(overlay_.controls.size()));
  overlay_.controls.push_back(controls);
}

void ControlsTable::Remove(absl::string_view domain) {
  CHECK(!domain.empty());
  CHECK(Has(domain));
  overlay_.domains.MapOf(domain).Put(FingerprintOf(domain, base_->key), kRemoved);
  --size_;
}

bool ControlsTable::Has(absl::string_view domain) const {
  const auto map = domain.front() == '.' ? &Domains::partial : &Domains::exact;
  return Find(map, FingerprintOf(domain, base_->key)) != nullptr;
}

// A base that says what this table says. The lines of both are in one order: no misses.
std::shared_ptr<const ControlsTable::Base> ControlsTable::Consolidated() const {
  auto made = std::make_shared<Base>(base_->key);
  made->by_default = base_->by_default;
  made->domains.partial_sizes = base_->domains.partial_sizes | overlay_.domains.partial_sizes;
  DistinctControls distinct(made->controls);
  constexpr uint32_t kUnused = UINT32_MAX;
  std::vector<uint32_t> indexes(base_->controls.size(), kUnused);  // In what is made, of the old.
  for (const auto map : {&Domains::exact, &Domains::partial}) {
    const FingerprintMap& changed = overlay_.domains.*map;
    FingerprintMap& to = made->domains.*map;
    to.Reserve((base_->domains.*map).size() + changed.size());
    (base_->domains.*map).ForEach([&](const Fingerprint& fingerprint, uint32_t old) {
      if (changed.Find(fingerprint)) return;
      if (indexes[old] == kUnused) indexes[old] = distinct.IndexOf(base_->controls[old]);
      to.Put(fingerprint, indexes[old]);
    });
    changed.ForEach([&](const Fingerprint& fingerprint, uint32_t index) {
      if (index == kRemoved) return;
      to.Put(fingerprint, distinct.IndexOf(overlay_.controls[index]));
    });
  }
  made->Finish();
  return made;
}

const Controls& ControlsTable::Lookup(absl::string_view domain) const {
  const Controls* exact = Find(&Domains::exact, FingerprintOf(domain, base_->key));
  if (exact != nullptr) return *exact;
  const size_t partials = base_->domains.partial.size() + overlay_.domains.partial.size();
  return partials == 0 ? base_->by_default : LookupPartial(domain);
}

// Null: there is no such entry. The base's memory comes while the overlay is looked at.
inline const Controls* ControlsTable::Find(FingerprintMap Domains::*map,
                                           const Fingerprint& fingerprint) const {
  const FingerprintMap& changed = overlay_.domains.*map;
  const FingerprintMap& unchanged = base_->domains.*map;
  if (changed.size() > 0) {
    unchanged.Prefetch(fingerprint);
    const std::optional<uint32_t> index = changed.Find(fingerprint);
    if (index) return *index == kRemoved ? nullptr : &overlay_.controls[*index];
  }
  const std::optional<uint32_t> index = unchanged.Find(fingerprint);
  return index ? &base_->controls[*index] : nullptr;
}

// From the first dot, which gives the longest suffix, to the last. Some at a time, so that where
// there are many partial domains their memory is waited for together.
const Controls& ControlsTable::LookupPartial(absl::string_view domain) const {
  constexpr size_t kTogether = 8;
  const std::bitset<256> sizes = base_->domains.partial_sizes | overlay_.domains.partial_sizes;
  for (size_t dot = domain.find('.'); dot != absl::string_view::npos;) {
    std::array<Fingerprint, kTogether> suffixes;
    size_t count = 0;
    for (; dot != absl::string_view::npos && count < kTogether; dot = domain.find('.', dot + 1)) {
      const absl::string_view suffix = domain.substr(dot);
      if (!sizes[std::min(suffix.size(), sizes.size() - 1)]) continue;
      suffixes[count] = FingerprintOf(suffix, base_->key);
      base_->domains.partial.Prefetch(suffixes[count++]);
    }
    for (size_t i = 0; i < count; ++i) {
      const Controls* partial = Find(&Domains::partial, suffixes[i]);
      if (partial != nullptr) return *partial;
    }
  }
  return base_->by_default;
}

// Those of the base that an entry still has, and those of the overlay.
std::vector<TlsControls> ControlsTable::DistinctTls() const {
  std::vector<uint32_t> uses = base_->tls_uses;
  std::vector<TlsControls> all;
  DistinctTlsControls distinct(all);
  distinct.IndexOf(base_->by_default.tls);
  for (const auto map : {&Domains::exact, &Domains::partial}) {
    (overlay_.domains.*map).ForEach([&](const Fingerprint& fingerprint, uint32_t index) {
      const std::optional<uint32_t> hidden = (base_->domains.*map).Find(fingerprint);
      if (hidden) --uses[base_->tls_of[*hidden]];
      if (index != kRemoved) distinct.IndexOf(overlay_.controls[index].tls);
    });
  }
  for (size_t i = 0; i < uses.size(); ++i) {
    if (uses[i] > 0) distinct.IndexOf(base_->tls[i]);
  }
  return all;
}

size_t ControlsTable::memory_bytes() const {
  const auto of = [](const Domains& domains) {
    return domains.exact.memory_bytes() + domains.partial.memory_bytes();
  };
  return sizeof(*this) + sizeof(Base) + of(base_->domains) + of(overlay_.domains) +
         base_->controls.capacity() * sizeof(Controls) +
         overlay_.controls.capacity() * sizeof(Controls) +
         base_->tls.capacity() * sizeof(TlsControls) +
         (base_->tls_uses.capacity() + base_->tls_of.capacity()) * sizeof(uint32_t);
}

}  // namespace sluice::policy
