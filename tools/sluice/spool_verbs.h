// sluice spool: looks at the logs of a spool, with or without an engine running on it. Writes
// nothing there, but to let a message out of quarantine.

#pragma once

#include <iosfwd>
#include <string>

namespace sluice::tools {

struct SpoolOptions {
  std::string spool;  // Its folder; empty: as the configuration has it.
  std::string config_path = "/etc/sluice/sluice.toml";
  bool json = false;
  std::string id;     // Of a message.
  bool body = false;  // Only the message itself, as it was handed in,
  bool raw = false;   // or as it goes over the wire.
};

// Exit codes: 0 nothing is damaged; 1 something is; 2 it cannot be read.
int CheckSpool(const SpoolOptions& options, std::ostream& out, std::ostream& errors);

// Exit codes: 0 shown; 1 there is no such message, or its body is damaged; 2 it cannot be read.
int ShowMessage(const SpoolOptions& options, std::ostream& out, std::ostream& errors);

// Lets a message out of quarantine: the next start of the engine tries it. Exit codes: 0 done; 1 it
// is in none; 2 it cannot be done.
int ReleaseMessage(const SpoolOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace sluice::tools
