#include "engine/tables.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/text_file.h"

namespace sluice {
namespace {

// A path that a file gives is relative to that file's folder.
std::string BesideFile(const std::string& file, const std::string& path) {
  return (std::filesystem::path(file).parent_path() / path).string();
}

// The file's text, or nothing of one that may be missing.
std::string ReadTable(const std::string& path, bool named, std::vector<ConfigError>& errors) {
  absl::StatusOr<std::string> text = ReadTextFile(path);
  if (text.ok()) return *std::move(text);
  if (absl::IsNotFound(text.status()) && !named) return "";
  errors.push_back(
      {.file = path, .text = absl::StrCat("cannot be read: ", text.status().message())});
  return "";
}

// Names are compared as they are, in case, too: so the configuration tells its profiles apart.
std::vector<ConfigError> UnknownProfiles(const Config& config, const LoadedControls& controls) {
  std::vector<ConfigError> errors;
  for (const policy::NamedBounceProfile& named : controls.bounce_profiles) {
    const bool known =
        std::any_of(config.bounce_profiles.begin(), config.bounce_profiles.end(),
                    [&](const policy::BounceProfile& each) { return each.name == named.name; });
    if (known) continue;
    errors.push_back(
        {.file = config.destinations.path,
         .line = named.line,
         .text = absl::StrCat("bounce_profile '", named.name, "' is not in sluice.toml")});
  }
  return errors;
}

}  // namespace

LoadedControls LoadControls(const DestinationsFile& file) {
  std::vector<ConfigError> errors;
  LoadedControls loaded = ParseControls(file, ReadTable(file.path, file.named, errors));
  loaded.errors.insert(loaded.errors.begin(), errors.begin(), errors.end());
  return loaded;
}

LoadedControls ParseControls(const DestinationsFile& file, absl::string_view text) {
  LoadedControls loaded;
  policy::ParsedControls parsed = policy::ParseControlsFile(text, {.profile = file.profile});
  loaded.entries = std::move(parsed.entries);
  loaded.bounce_profiles = std::move(parsed.bounce_profiles);
  for (policy::ControlsEntry& entry : loaded.entries) {
    if (entry.tls.ca_file && !entry.tls.ca_file->empty()) {
      entry.tls.ca_file = BesideFile(file.path, *entry.tls.ca_file);
    }
  }
  for (policy::FileError& error : parsed.errors) {
    loaded.errors.push_back({.file = file.path, .line = error.line, .text = std::move(error.text)});
  }
  return loaded;
}

// Paths in the table are relative to it.
LoadedTls LoadTls(const Config& config, const std::vector<policy::TlsControls>& used,
                  WallTime now) {
  tls::Environment::Options options = {.hostname = config.hostname, .ca_file = config.ca_file};
  for (const CertificateConfig& certificate : config.certificates) {
    options.certificates.push_back(
        {.name = certificate.name, .certificate = certificate.certificate, .key = certificate.key});
  }
  for (const ListenerConfig& listener : config.listeners) {
    if (!listener.certificate.empty())
      options.listener_certificates.push_back(listener.certificate);
  }
  tls::Environment::Loaded loaded = tls::Environment::Load(options, used, now);
  LoadedTls result = {.environment = std::move(loaded.environment)};
  for (std::string& error : loaded.errors) {
    result.errors.push_back({.file = config.destinations.path, .text = std::move(error)});
  }
  return result;
}

LoadedRoutes LoadRoutes(const TableFile& file, uint16_t default_port) {
  LoadedRoutes loaded;
  std::vector<dns::RoutesError> errors;
  const std::string text = ReadTable(file.path, file.named, loaded.errors);
  loaded.table = dns::RoutesTable::Parse(text, default_port, errors);
  for (dns::RoutesError& error : errors) {
    loaded.errors.push_back({.file = file.path, .line = error.line, .text = std::move(error.text)});
  }
  return loaded;
}

LoadedTables LoadTables(const Config& config, WallTime now, const std::string* controls_text) {
  LoadedTables loaded;
  const auto take_errors = [&](std::vector<ConfigError>& errors) {
    std::move(errors.begin(), errors.end(), std::back_inserter(loaded.errors));
  };
  LoadedControls controls = controls_text == nullptr
                                ? LoadControls(config.destinations)
                                : ParseControls(config.destinations, *controls_text);
  take_errors(controls.errors);
  std::vector<ConfigError> unknown_profiles = UnknownProfiles(config, controls);
  take_errors(unknown_profiles);
  LoadedRoutes routes = LoadRoutes(config.routes, config.delivery_port);
  take_errors(routes.errors);
  if (!loaded.errors.empty()) return loaded;
  LoadedTls tls = LoadTls(config, policy::ControlsTable(controls.entries).DistinctTls(), now);
  take_errors(tls.errors);
  loaded.tables = {.controls = std::move(controls.entries),
                   .routes = std::move(routes.table),
                   .tls = std::move(tls.environment)};
  return loaded;
}

}  // namespace sluice
