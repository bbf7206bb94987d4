// What was found in a spool, as JSON; and that as text for people.

#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>

#include "engine/spool/audit.h"
#include "engine/spool/trace.h"

namespace sluice::tools {

nlohmann::ordered_json ToJson(const spool::SpoolAudit& audit);
// With `quarantine`, a list of ids, beside what ToJson has made.
void WriteAudit(const nlohmann::ordered_json& audit, std::ostream& out);

// Of a message that has a record in the spool.
nlohmann::ordered_json ToJson(MessageId id, const spool::MessageTrace& trace);
void WriteMessage(const nlohmann::ordered_json& message, std::ostream& out);

}  // namespace sluice::tools
