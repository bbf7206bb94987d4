// What operators ask of a running engine, over the control socket or by signal. On the control
// thread. The requests are in admin/API.md.

#pragma once

#include <string>
#include <vector>

#include "engine/admin/control_queue.h"
#include "engine/config.h"
#include "engine/controls_store.h"
#include "engine/engine.h"
#include "engine/tables.h"

namespace sluice {

class Control {
 public:
  // Both outlive it; the engine has started.
  Control(Engine& engine, const Config& config)
      : engine_(engine), config_(config), store_(config.destinations) {}

  admin::ControlReply Handle(const admin::ControlRequest& request);

  // Reads the tables again and has the engine use them. With errors, which it returns, the old ones
  // stay.
  std::vector<ConfigError> Reload();
  uint64_t table_version() const { return table_version_; }

 private:
  admin::ControlReply Status();
  admin::ControlReply HostStatus(const std::string& name);
  admin::ControlReply ReloadReply();
  admin::ControlReply RunDestconfig(const std::string& body);
  LoadedTables TablesWith(const ControlsStore::Table& entries) const;

  Engine& engine_;
  const Config& config_;
  ControlsStore store_;
  ControlsStore::Table used_;  // What the engine's controls were made of; null: another text.
  uint64_t table_version_ = 1;
};

}  // namespace sluice
