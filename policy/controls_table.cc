#include "policy/controls_table.h"

#include <algorithm>
#include <chrono>
#include <utility>

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
