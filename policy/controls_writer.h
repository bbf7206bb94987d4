// The table of destination controls as the text of its file: the export form.
//
//   [DEFAULT]
//   max_host_concurrency = 500
//
//   [example.com]
//   table_tls = require_verify
//
//   [.example.com]
//   max_messages_per_connection = 5
//
// What is written is what ParseControlsFile reads back: the same entries, but for their order and
// their lines. The same entries give the same text, whatever their order was, so that two texts
// differ only where two tables do.
//
// [DEFAULT] comes first and is always written, as on the appliance, for an import that lacks it
// would leave another machine's default as it is. Then the sections by name, a domain before the
// partial domain of the same name. Keys come in the order of ControlsKey, in their canonical names
// and words; what an entry leaves out is left out, in [DEFAULT], too. Comments and dane_option,
// which can only ask for nothing, are not part of the table.

#pragma once

#include <string>
#include <vector>

#include "policy/controls_table.h"

namespace sluice::policy {

// `entries` are valid and distinct: what a key needs in its section is there.
std::string WriteControlsFile(const std::vector<ControlsEntry>& entries);

// The same, and the entries become those that reading the text would give: in its order, with its
// lines, the default among them.
std::string RewriteControlsFile(std::vector<ControlsEntry>& entries);

}  // namespace sluice::policy
