#include "engine/tables.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/text_file.h"
#include "policy/controls_file.h"
#include "policy/fingerprint.h"

namespace sluice {
namespace {

// A path that a file gives is relative to that file's folder.
std::string BesideFile(const std::string& file, const std::string& path) {
  return (std::filesystem::path(file).parent_path() / path).string();
}

void PutPathsBeside(const std::string& file, std::vector<policy::ControlsEntry>& entries) {
  for (policy::ControlsEntry& entry : entries) {
    if (!entry.tls.ca_file || entry.tls.ca_file->empty()) continue;
    entry.tls.ca_file = BesideFile(file, *entry.tls.ca_file);
  }
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

// What entries name of the configuration must be there.
std::vector<ConfigError> UnmetNames(const Config& config,
                                    const std::vector<policy::ControlsEntry>& entries) {
  std::vector<ConfigError> errors;
  const auto fail = [&](const policy::ControlsEntry& entry, absl::string_view text) {
    errors.push_back({.file = config.destinations.path,
                      .line = std::max(1, entry.line),
                      .text = std::string(text)});
  };
  const auto known = [&](const std::string& name) {
    return std::any_of(config.bounce_profiles.begin(), config.bounce_profiles.end(),
                       [&](const policy::BounceProfile& each) { return each.name == name; });
  };
  for (const policy::ControlsEntry& entry : entries) {
    if (entry.bounce_profile && !known(*entry.bounce_profile)) {
      fail(entry,
           absl::StrCat("bounce_profile '", *entry.bounce_profile, "' is not in sluice.toml"));
    }
    if (entry.tag_sender.value_or(false) && config.bounce_key.empty()) {
      fail(entry, "bounce_validation = on needs a key: [bounce_verification] in sluice.toml");
    }
  }
  return errors;
}

// Whoever sends mail chooses the domains that are looked up: the key is chance.
std::unique_ptr<policy::ControlsTable> TableOf(const std::vector<policy::ControlsEntry>& entries) {
  std::random_device chance;
  const auto word = [&chance] { return (uint64_t{chance()} << 32) | chance(); };
  const uint64_t low = word();
  return std::make_unique<policy::ControlsTable>(entries, 0, policy::FingerprintKey(low, word()));
}

// Controls without errors of their own, `names` of what they want of the configuration; and all
// else.
LoadedTables WithControls(const Config& config, WallTime now,
                          std::unique_ptr<policy::ControlsTable> controls,
                          std::vector<ConfigError> names) {
  LoadedTables loaded = {.errors = std::move(names)};
  LoadedRoutes routes = LoadRoutes(config.routes, config.delivery_port);
  std::move(routes.errors.begin(), routes.errors.end(), std::back_inserter(loaded.errors));
  LoadedTls tls = LoadTls(config, controls->DistinctTls(), now);
  std::move(tls.errors.begin(), tls.errors.end(), std::back_inserter(loaded.errors));
  if (!loaded.errors.empty()) return loaded;
  loaded.tables = {.controls = std::move(controls),
                   .routes = std::move(routes.table),
                   .tls = std::move(tls.environment)};
  return loaded;
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
  PutPathsBeside(file.path, loaded.entries);
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
  LoadedControls controls = controls_text == nullptr
                                ? LoadControls(config.destinations)
                                : ParseControls(config.destinations, *controls_text);
  if (controls.errors.empty()) {
    return WithControls(config, now, TableOf(controls.entries),
                        UnmetNames(config, controls.entries));
  }
  LoadedTables failed = {.errors = std::move(controls.errors)};
  std::vector<ConfigError> names = UnmetNames(config, controls.entries);
  std::move(names.begin(), names.end(), std::back_inserter(failed.errors));
  LoadedRoutes routes = LoadRoutes(config.routes, config.delivery_port);
  std::move(routes.errors.begin(), routes.errors.end(), std::back_inserter(failed.errors));
  return failed;
}

LoadedTables LoadTables(const Config& config, WallTime now,
                        std::vector<policy::ControlsEntry> entries) {
  PutPathsBeside(config.destinations.path, entries);
  return WithControls(config, now, TableOf(entries), UnmetNames(config, entries));
}

LoadedTables LoadTables(const Config& config, WallTime now, const policy::ControlsTable& older,
                        policy::ControlsChange change) {
  PutPathsBeside(config.destinations.path, change.put);
  std::vector<ConfigError> names = UnmetNames(config, change.put);
  return WithControls(config, now,
                      std::make_unique<policy::ControlsTable>(older, change, older.version()),
                      std::move(names));
}

}  // namespace sluice
