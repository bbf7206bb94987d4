// What operators ask of a running engine, over the control socket or by signal. On the control
// thread. The requests are in admin/API.md.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/admin/control_queue.h"
#include "engine/config.h"
#include "engine/controls_store.h"
#include "engine/delivery/destination_counters.h"
#include "engine/engine.h"
#include "engine/suspensions.h"
#include "engine/tables.h"

namespace sluice {

class Control {
 public:
  // All outlive it; the engine has started with these suspensions.
  Control(Engine& engine, const Config& config, SuspensionList& suspensions)
      : engine_(engine), config_(config), suspensions_(suspensions), store_(config.destinations) {}

  admin::ControlReply Handle(const admin::ControlRequest& request);

  // Reads the tables again and has the engine use them. With errors, which it returns, the old ones
  // stay.
  std::vector<ConfigError> Reload();
  uint64_t table_version() const { return table_version_; }

 private:
  admin::ControlReply Get(const admin::ControlRequest& request);
  admin::ControlReply Post(const admin::ControlRequest& request);
  admin::ControlReply Status();
  admin::ControlReply ReloadReply();
  admin::ControlReply RunDestconfig(const std::string& body);
  LoadedTables TablesWith(const ControlsStore::Table& entries) const;

  // Destinations and their mail (control_hosts.cc).
  admin::ControlReply HostStatus(const std::string& name);
  admin::ControlReply ShowTopHosts(const std::map<std::string, std::string>& parameters);
  admin::ControlReply DeliverNow(const std::string& body);
  admin::ControlReply Suspend(const std::string& body);
  admin::ControlReply Resume(const std::string& body);
  admin::ControlReply ShowSuspensions();
  void CatchShardsUp();
  admin::ControlReply TellSuspensions(const absl::Status& written, WallTime now);
  std::optional<delivery::DestinationCounters> CountersOf(const std::string& domain);

  Engine& engine_;
  const Config& config_;
  SuspensionList& suspensions_;
  bool shards_behind_ = false;  // Not all have the suspensions of the list.
  ControlsStore store_;
  ControlsStore::Table used_;  // What the engine's controls were made of; null: another text.
  uint64_t table_version_ = 1;
};

}  // namespace sluice
