// sluiced: the engine as a process.
//
//   sluiced --config FILE            runs until SIGTERM or SIGINT, then drains
//   sluiced --config FILE --check    validates the configuration and its tables, and exits
//
// Operators reach it by the control socket. SIGHUP reads the tables again and opens the delivery
// log anew; with an error in them the old tables stay. A second SIGTERM ends the drain.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>

#include "engine/config.h"
#include "engine/tables.h"
#include "tools/sluiced/run.h"

namespace sluice {
namespace {

int Main(int argc, char** argv) {
  CLI::App app{"Sluice, a delivery engine for mail"};
  std::string path = "/etc/sluice/sluice.toml";
  bool check = false;
  app.add_option("--config", path, "The configuration")->capture_default_str();
  app.add_flag("--check", check, "Validate the configuration and its tables, then exit");
  CLI11_PARSE(app, argc, argv);

  const LoadedConfig loaded = LoadConfig(path);
  Print(loaded.errors);
  if (!loaded.read) return 1;
  Tables tables;  // Read even if the configuration has errors, so that all are told at once.
  const bool tables_valid = ReadTables(loaded.config, tables);
  if (!loaded.errors.empty() || !tables_valid) return 1;
  if (check) {
    std::printf("%s: valid; %zu destinations, %zu routes\n", path.c_str(), tables.controls->size(),
                tables.routes.size());
    return 0;
  }
  return RunSluiced(loaded.config, std::move(tables));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  return sluice::Main(argc, argv);
}
