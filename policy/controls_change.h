// The table of destination controls as something that is edited: the appliance's NEW, EDIT, DELETE,
// DEFAULT, CLEAR and IMPORT.
//
// All take a valid table (without errors of ParseControlsFile) and leave a valid one. On an error
// nothing has changed, and its text says all that is wrong: a sentence a line, each of which names
// its key and what that takes.
//
// Options are `name=value`, in any case, by the names of the file or of the appliance's batch form:
// concurrency_limit=20 use_tls=require. `name=default` leaves the key out, so that the entry
// inherits it, or has its factory value if it is the default entry. (A certificate or a CA file of
// that name cannot be given in a command.) As in the appliance's dialogue, and unlike in the file,
// a limit may be given alone: a domain's section then says limit_type and limit_apply as they hold
// in the default, for the file demands them; a recipient limit without minutes is for 60; and one
// that is left out again takes its minutes along.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "policy/controls_file.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"

namespace sluice::policy {

// An entry that says what the options say. AlreadyExists: there is one, the default always.
absl::Status NewControls(absl::string_view section, std::span<const std::string> options,
                         std::vector<ControlsEntry>& entries,
                         ControlsProfile profile = ControlsProfile::kCompatible);

// The entry says what the options say, and goes on saying the rest. `section` may be DEFAULT.
// NotFound: there is none.
absl::Status EditControls(absl::string_view section, std::span<const std::string> options,
                          std::vector<ControlsEntry>& entries,
                          ControlsProfile profile = ControlsProfile::kCompatible);

// NotFound: there is none. The default cannot be deleted.
absl::Status DeleteControls(absl::string_view section, std::vector<ControlsEntry>& entries);

// All but the default.
void ClearControls(std::vector<ControlsEntry>& entries);

enum class ImportMode : uint8_t {
  kReplace,  // The file's sections are the table; the default goes on if the file has none.
  kMerge,    // The file's sections replace those of the same name; the others go on.
};

// `text` is a file's content. Not empty: the errors of the file, and of what goes on beside it (at
// the line of the file's [DEFAULT]); nothing has changed.
std::vector<FileError> ImportControls(absl::string_view text, ImportMode mode,
                                      std::vector<ControlsEntry>& entries,
                                      ControlsProfile profile = ControlsProfile::kCompatible);

}  // namespace sluice::policy
