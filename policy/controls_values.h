// One key and its value, put into the entry of a section.

#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"

namespace sluice::policy {

// The error says what the value must be, for a sentence that begins with the key and its value; the
// entry is then as it was. table_tls = default and bounce_profile = default leave the entry as it
// was, too.
absl::Status SetControlsValue(const ControlsKeyRow& row, absl::string_view value,
                              ControlsProfile profile, ControlsEntry& entry);

}  // namespace sluice::policy
