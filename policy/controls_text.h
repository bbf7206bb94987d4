// What an entry says of a key, in the file's canonical words: the way back from controls_values.h.

#pragma once

#include <optional>
#include <string>

#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_table.h"

namespace sluice::policy {

// Words in the file's spelling, times in the largest unit that holds them whole ("90s", "30m").
// Empty: the entry leaves the key out, or the key is dane_option, which can only ask for nothing.
std::optional<std::string> ControlsText(ControlsKey key, const ControlsEntry& entry);

// The keys with a text.
GivenKeys GivenBy(const ControlsEntry& entry);

// The entry leaves the key out, and so inherits it.
void ClearControlsValue(ControlsKey key, ControlsEntry& entry);

// What holds where nobody says anything, for people: "500", "host", "no limit". A value that the
// file can hold is in the file's words.
std::string FactoryText(ControlsKey key);

}  // namespace sluice::policy
