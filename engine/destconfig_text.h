// The table of destination controls as an operator reads it: the appliance's LIST and DETAIL, and
// what holds for one address.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/dns/routes_table.h"
#include "policy/controls_table.h"
#include "policy/sources.h"

namespace sluice {

// "There are currently 3 entries configured.": the rows of ListText, so with the default.
std::string CountText(const std::vector<policy::ControlsEntry>& entries);

// A row a section, by name, the default last. TLS has a word of its own for each of the six levels,
// unlike the appliance, whose "On" stands for two.
std::string ListText(const std::vector<policy::ControlsEntry>& entries);

// A block a section; of one, or of all with null. Empty: there is no such section.
std::string DetailText(const std::vector<policy::ControlsEntry>& entries,
                       const std::string* domain);

// Mail of which is asked what holds for it.
struct TestedMail {
  std::string domain;                 // Normalised.
  std::optional<std::string> sender;  // Not given: any.
  IpAddress client;                   // Who injects it; family kNone: any.
};

// What is known beside the table.
struct TestWorld {
  const dns::RoutesTable* routes = nullptr;  // Null: not known,
  const policy::Sources* sources = nullptr;  // the same,
  uint32_t shards = 0;                       // and 0.
};

// The entry that governs the mail's domain, every value with who says it, the route, the source and
// the shard.
std::string TestText(const std::vector<policy::ControlsEntry>& entries, const TestedMail& mail,
                     const TestWorld& world);

}  // namespace sluice
