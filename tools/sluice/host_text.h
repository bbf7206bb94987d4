// What the engine says of destinations, as text for people. The objects are of engine/admin/API.md.

#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>

namespace sluice::tools {

// What holds its mail back comes first: it is what an operator wants to know.
void WriteHostStatus(const nlohmann::json& said, std::ostream& out);
void WriteTopHosts(const nlohmann::json& said, std::ostream& out);
void WriteDeliverNow(const nlohmann::json& said, std::ostream& out);
// A line each; a sentence where there are none.
void WriteSuspensions(const nlohmann::json& suspensions, std::ostream& out);

}  // namespace sluice::tools
