#include "tests/sim/sim_tables.h"

#include <set>

namespace sluice::sim {
namespace {

void DrawScope(World& world, const Options& options, bool may_hold, policy::ControlsEntry& entry) {
  if (world.Chance(0.5)) entry.limits_each_address = world.Chance(0.6);
  if (world.Chance(0.5)) entry.limits_each_source = world.Chance(0.6);
  if (world.Chance(0.4)) {
    entry.system_connections_max = static_cast<uint32_t>(world.Between(1, 10));
  }
  if (world.Chance(0.3)) {
    const uint64_t all = uint64_t{options.messages} * options.recipients_max;
    entry.system_recipients_max = static_cast<uint32_t>(world.Between(1, 40) + all / 100);
    if (may_hold && world.Chance(0.1)) entry.system_recipients_max = 0;
    entry.system_recipient_minutes = static_cast<uint32_t>(world.Between(1, 3));
  }
}

void DrawTls(World& world, const CanMeet& can_meet, bool may_hold, policy::ControlsEntry& entry) {
  if (world.Chance(0.8)) {
    auto level = static_cast<policy::TlsLevel>(world.Between(0, policy::kTlsLevels - 1));
    if (!may_hold && !can_meet(entry.domain, level)) level = policy::TlsLevel::kOn;
    entry.tls.level = level;
  }
  if (world.Chance(0.3)) {
    entry.tls.version_min = world.Chance(0.5) ? policy::TlsVersion::k12 : policy::TlsVersion::k13;
  }
  if (world.Chance(0.3)) entry.tls.sni = world.Chance(0.5);
  if (world.Chance(0.3))
    entry.tls.broken_memory = world.Delay(std::chrono::seconds(1), std::chrono::hours(1));
}

policy::ControlsEntry DrawEntry(World& world, const Options& options, std::string domain,
                                const CanMeet& can_meet, bool may_hold) {
  policy::ControlsEntry entry = {.domain = std::move(domain)};
  if (world.Chance(0.6)) {
    entry.connections_max = world.Chance(0.4) ? 1 : static_cast<uint32_t>(world.Between(1, 20));
  }
  if (world.Chance(0.6)) {
    entry.messages_per_connection_max =
        world.Chance(0.4) ? 1 : static_cast<uint32_t>(world.Between(1, 50));
  }
  if (world.Chance(0.4)) {
    // So many that all of the mail could pass within some hours.
    const uint64_t all = uint64_t{options.messages} * options.recipients_max;
    entry.recipients_max = static_cast<uint32_t>(world.Between(1, 30) + all / 100);
    if (may_hold && world.Chance(0.1)) entry.recipients_max = 0;
    entry.recipient_minutes = static_cast<uint32_t>(world.Between(1, 2));
  }
  if (options.scopes) DrawScope(world, options, may_hold, entry);
  if (options.tls) DrawTls(world, can_meet, may_hold, entry);
  return entry;
}

}  // namespace

std::vector<policy::ControlsEntry> DrawTable(World& world, const Options& options,
                                             const std::vector<std::string>& domains,
                                             const CanMeet& can_meet, bool may_hold) {
  std::vector<policy::ControlsEntry> entries;
  entries.push_back(DrawEntry(world, options, "", can_meet, may_hold));
  std::set<std::string> parents;
  for (const std::string& domain : domains) {
    parents.insert(domain.substr(domain.find('.')));
    if (world.Chance(0.5)) entries.push_back(DrawEntry(world, options, domain, can_meet, may_hold));
  }
  for (const std::string& parent : parents) {
    if (world.Chance(0.5)) entries.push_back(DrawEntry(world, options, parent, can_meet, may_hold));
  }
  return entries;
}

}  // namespace sluice::sim
