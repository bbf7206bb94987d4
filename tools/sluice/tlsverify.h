// sluice tlsverify DOMAIN [HOST[:PORT]]: what delivery would meet of TLS at a destination, without
// sending mail. Needs no running engine: it reads the configuration itself.

#pragma once

#include <iosfwd>
#include <string>

namespace sluice::tools {

struct TlsverifyOptions {
  std::string config_path = "/etc/sluice/sluice.toml";
  std::string domain;
  std::string host;  // "HOST[:PORT]"; empty: the domain's route.
  bool json = false;
  bool every_host = false;  // Also those behind the first where mail would be sent.
  double patience_s = 30;   // For each answer of a host.
};

// The exit code: 0 where mail would be sent by the level that the domain is configured with, 1
// where not, 2 where that cannot be asked (the configuration, the command line).
int Tlsverify(const TlsverifyOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace sluice::tools
