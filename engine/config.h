// sluice.toml: every setting of the engine, checked whole.
//
// All errors of the file are collected, so that an operator mends them in one go; only a syntax
// error hides the rest of the file, since nothing behind it can be read with confidence. A setting
// that this version does not serve yet is an error as well, and never silently left out.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "policy/bounce_profile.h"
#include "policy/controls_keys.h"
#include "policy/sources.h"

namespace sluice {

struct ConfigError {
  std::string file;
  int line = 1;  // From 1; of a file as a whole: 1.
  std::string text;

  std::string ToString() const;  // "file:line: text"
};

// Each as a line.
std::vector<std::string> LinesOf(const std::vector<ConfigError>& errors);

struct ListenerConfig {
  SocketAddress address;
  std::vector<Network> relay_from;
  uint64_t message_bytes_max = 52428800;
  std::string certificate;  // Its name; empty: STARTTLS is not offered.
};

struct CertificateConfig {
  std::string name;
  std::string certificate;  // PEM files.
  std::string key;
};

// A table beside the configuration. One at its default place may be missing: then it is empty.
struct TableFile {
  std::string path;
  bool named = false;  // By the configuration: it must be there.
};

// The table of destination controls, and how high its limits may be.
struct DestinationsFile {
  std::string path;
  bool named = false;
  policy::ControlsProfile profile = policy::ControlsProfile::kCompatible;
};

inline constexpr uint64_t kSpoolMinFreeBytes = 256 << 20;

struct Config {
  std::string hostname;  // Normalised.

  uint32_t shards = 0;             // 0: one for each available core.
  uint32_t handshake_threads = 0;  // 0: chosen from the number of cores.

  std::vector<ListenerConfig> listeners;  // At least one.

  std::string spool_path = "/var/spool/sluice";
  bool spool_sync = true;
  // What is to stay free on its file system; nothing: kSpoolMinFreeBytes, or a hundredth if more.
  std::optional<uint64_t> spool_min_free_bytes;

  DestinationsFile destinations = {.path = "/etc/sluice/destinations.ini"};
  TableFile routes = {.path = "/etc/sluice/routes"};

  std::vector<std::string> dns_forward;  // "127.0.0.1@5353", as unbound takes them.
  std::string dns_trust_anchor = "/usr/share/dns/root.key";

  uint16_t delivery_port = 25;
  std::vector<Network> allow_addresses;
  uint32_t connections_max = 0;  // Of delivery, of the whole engine; 0: what the shards hold.

  std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";
  std::string alert_address;    // Who is told that a required TLS connection failed; empty: nobody.
  uint32_t handshakes_max = 0;  // TLS connections being opened, of the whole engine; 0: no cap.
  std::vector<CertificateConfig> certificates;

  policy::Sources sources;

  // The key by which senders are tagged where the controls say so; empty: there is none.
  std::string bounce_key;
  int bounce_key_number = 0;

  std::vector<policy::BounceProfile> bounce_profiles;  // "Default" is the first, and always there.

  std::string delivery_log = "/var/log/sluice/delivery.jsonl";
  std::string control_socket = "/run/sluice/control.sock";
};

struct LoadedConfig {
  Config config;
  std::vector<ConfigError> errors;  // By line. Not empty: the configuration is not to be used.
  bool read = false;  // Its text is TOML, so that what it names may be judged beside it.
};

// Reads the file. Relative paths in it are made relative to its folder.
LoadedConfig LoadConfig(const std::string& path);

// The same of a text; `path` names it in errors and for relative paths.
LoadedConfig ParseConfig(absl::string_view text, const std::string& path);

}  // namespace sluice
