// The tables that the configuration names, read from their files: destination controls and routes.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/config.h"
#include "engine/dns/routes_table.h"
#include "policy/controls_file.h"
#include "policy/controls_table.h"
#include "tls/environment.h"

namespace sluice {

// What may change while the engine runs.
struct Tables {
  std::unique_ptr<policy::ControlsTable> controls;  // Its version is the engine's to give.
  dns::RoutesTable routes;
  std::shared_ptr<const tls::Environment> tls;  // What the controls and the listeners name of it.
};

struct LoadedControls {
  std::vector<policy::ControlsEntry> entries;  // For a policy::ControlsTable.
  std::vector<ConfigError> errors;             // Not empty: the entries are not to be used.
};

struct LoadedRoutes {
  dns::RoutesTable table;
  std::vector<ConfigError> errors;  // Not empty: the table is not to be used.
};

struct LoadedTls {
  std::shared_ptr<const tls::Environment> environment;  // Null where there are errors.
  std::vector<ConfigError> errors;
};

struct LoadedTables {
  Tables tables;
  std::vector<ConfigError> errors;  // Not empty: the tables are not to be used.
};

// What `used` and the listeners name of TLS.
LoadedTls LoadTls(const Config& config, const std::vector<policy::TlsControls>& used, WallTime now);

// A file that is missing at its default place is an empty table; one that was named must be there.
LoadedControls LoadControls(const DestinationsFile& file);
LoadedRoutes LoadRoutes(const TableFile& file, uint16_t default_port);

// The same of a text that is to stand in that file.
LoadedControls ParseControls(const DestinationsFile& file, absl::string_view text);

// All that the configuration names, with all errors. With `controls_text`, that is taken for what
// stands in the file of controls.
LoadedTables LoadTables(const Config& config, WallTime now,
                        const std::string* controls_text = nullptr);

// The same with entries of the file of controls that have been read and are valid, their paths as
// they stand there.
LoadedTables LoadTables(const Config& config, WallTime now,
                        std::vector<policy::ControlsEntry> entries);

// The same with what the change makes of an older table: quick, however large that is.
LoadedTables LoadTables(const Config& config, WallTime now, const policy::ControlsTable& older,
                        policy::ControlsChange change);

}  // namespace sluice
