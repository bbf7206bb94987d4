// The verbs about destinations of a running engine: hoststatus, tophosts, delivernow, suspenddel,
// resumedel. Exit codes: engine_ask.h; 1 also for what is no domain or no order.

#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tools/sluice/engine_ask.h"

namespace sluice::tools {

struct HostVerbOptions {
  std::string domain;                // hoststatus, delivernow; empty: all.
  std::string by = "active";         // tophosts.
  std::vector<std::string> domains;  // suspenddel, resumedel; empty: all.
  std::string span;                  // suspenddel --for; empty: until it is resumed.
  std::string reason;                // suspenddel --reason.
  bool lists = false;                // suspenddel --list.
  bool resets_limits = false;        // delivernow --reset-limits.
};

int HostStatus(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
               std::ostream& errors);
int ShowTopHosts(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
                 std::ostream& errors);
int DeliverNow(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
               std::ostream& errors);
int Suspend(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
            std::ostream& errors);
int Resume(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
           std::ostream& errors);

}  // namespace sluice::tools
