#include "policy/controls_table.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/check.h"

namespace sluice::policy {
namespace {

// Field by field: what the entry says, else what it inherits.
Controls Inherit(const ControlsEntry& entry, Controls controls) {
  CHECK(entry.recipients_max.has_value() == entry.recipient_minutes.has_value());
  if (entry.connections_max) controls.connections_max = *entry.connections_max;
  if (entry.messages_per_connection_max) {
    controls.messages_per_connection_max = *entry.messages_per_connection_max;
  }
  if (entry.recipients_max) {
    controls.recipients_limited = true;
    controls.recipients_max = *entry.recipients_max;
    controls.recipient_period = std::chrono::minutes(*entry.recipient_minutes);
  }
  if (entry.ip_preference) controls.ip_preference = *entry.ip_preference;
  controls.tls = InheritTls(entry.tls, std::move(controls.tls));
  CHECK(controls.connections_max > 0);
  CHECK(controls.messages_per_connection_max > 0);
  CHECK(!controls.recipients_limited || controls.recipient_period > Duration::zero());
  return controls;
}

}  // namespace

ControlsTable::ControlsTable(std::vector<ControlsEntry> entries, uint64_t version)
    : version_(version) {
  bool default_given = false;
  for (const ControlsEntry& entry : entries) {
    if (!entry.domain.empty()) continue;
    CHECK(!default_given);
    default_given = true;
    default_ = Inherit(entry, Controls{});
  }
  exact_.reserve(entries.size());
  for (ControlsEntry& entry : entries) {
    if (entry.domain.empty()) continue;
    ControlsMap& map = entry.domain.front() == '.' ? partial_ : exact_;
    Controls controls = Inherit(entry, default_);
    const bool distinct = map.try_emplace(std::move(entry.domain), std::move(controls)).second;
    CHECK(distinct);
  }
}

const Controls& ControlsTable::Lookup(absl::string_view domain) const {
  const auto exact = exact_.find(domain);
  if (exact != exact_.end()) return exact->second;
  return partial_.empty() ? default_ : LookupPartial(domain);
}

// From the first dot, which gives the longest suffix, to the last.
const Controls& ControlsTable::LookupPartial(absl::string_view domain) const {
  for (size_t dot = domain.find('.'); dot != absl::string_view::npos;
       dot = domain.find('.', dot + 1)) {
    const auto partial = partial_.find(domain.substr(dot));
    if (partial != partial_.end()) return partial->second;
  }
  return default_;
}

std::vector<TlsControls> ControlsTable::DistinctTls() const {
  std::vector<TlsControls> distinct = {default_.tls};
  const auto add = [&distinct](const Controls& controls) {
    if (std::find(distinct.begin(), distinct.end(), controls.tls) == distinct.end()) {
      distinct.push_back(controls.tls);
    }
  };
  for (const auto& [name, controls] : exact_) add(controls);
  for (const auto& [name, controls] : partial_) add(controls);
  return distinct;
}

}  // namespace sluice::policy
