#include "engine/tables.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/text_file.h"
#include "policy/controls_file.h"

namespace sluice {
namespace {

// The file's text, or nothing of one that may be missing.
std::string ReadTable(const TableFile& file, std::vector<ConfigError>& errors) {
  absl::StatusOr<std::string> text = ReadTextFile(file.path);
  if (text.ok()) return *std::move(text);
  if (absl::IsNotFound(text.status()) && !file.named) return "";
  errors.push_back(
      {.file = file.path, .text = absl::StrCat("cannot be read: ", text.status().message())});
  return "";
}

}  // namespace

LoadedControls LoadControls(const TableFile& file) {
  LoadedControls loaded;
  policy::ParsedControls parsed = policy::ParseControlsFile(ReadTable(file, loaded.errors));
  loaded.entries = std::move(parsed.entries);
  for (policy::FileError& error : parsed.errors) {
    loaded.errors.push_back({.file = file.path, .line = error.line, .text = std::move(error.text)});
  }
  return loaded;
}

LoadedRoutes LoadRoutes(const TableFile& file, uint16_t default_port) {
  LoadedRoutes loaded;
  std::vector<dns::RoutesError> errors;
  const std::string text = ReadTable(file, loaded.errors);
  loaded.table = dns::RoutesTable::Parse(text, default_port, errors);
  for (dns::RoutesError& error : errors) {
    loaded.errors.push_back({.file = file.path, .line = error.line, .text = std::move(error.text)});
  }
  return loaded;
}

}  // namespace sluice
