// destinations.ini, the import/export form of the appliance's destination controls table.
//
//   [DEFAULT]
//   max_host_concurrency = 500
//   max_messages_per_connection = 50
//
//   [.freemail.example]
//   max_host_concurrency = 20
//   recipient_minutes = 1
//   recipient_limit = 180
//   limit_type = host
//   limit_apply = system
//
// Keys, words and section names in any case; both spellings of an option (concurrency_limit for
// max_host_concurrency, …: reference §1.10). All errors are collected, none is fatal to the others.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/controls_table.h"

namespace sluice::policy {

struct FileError {
  int line = 0;
  std::string text;
};

struct ParsedControls {
  std::vector<ControlsEntry> entries;
  std::vector<FileError> errors;  // Not empty: the entries are not to be used.
};

// `text` is the file's content. Pure: reading the file is the caller's.
ParsedControls ParseControlsFile(absl::string_view text);

}  // namespace sluice::policy
