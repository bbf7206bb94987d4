#include "engine/config.h"

#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/base/limits.h"
#include "engine/smtp/address.h"
#include "engine/source_config.h"
#include "engine/text_file.h"
#include "engine/toml_section.h"

namespace sluice {
namespace {

constexpr uint64_t kMessageBytesMost = limits::kMessageBytesMax;
constexpr uint64_t kSecondsMost = 365 * 24 * 3600;
constexpr uint64_t kRetriesMost = 100'000;
constexpr uint64_t kFreeBytesMost = uint64_t{1} << 50;
constexpr uint64_t kHandshakeThreadsMost = 256;
constexpr uint64_t kConnectionsMost =
    uint64_t{limits::kShardsMax} * limits::kDeliveryConnectionsPerShardMax;

// What a listener on a loopback address trusts unless it is told otherwise.
std::vector<Network> LoopbackNetworks() {
  return {*Network::Parse("127.0.0.0/8"), *Network::Parse("::1/128")};
}

// Reads a list of networks; false when it is not there.
bool ReadNetworks(const TomlFile& file, TomlSection& section, absl::string_view key,
                  std::vector<Network>& networks) {
  std::vector<TomlText> texts;
  if (!section.Texts(key, texts)) return false;
  for (const TomlText& text : texts) {
    const absl::StatusOr<Network> network = Network::Parse(text.text);
    if (network.ok()) {
      networks.push_back(*network);
    } else {
      file.Fail(text.line, absl::StrCat(key, ": ", network.status().message()));
    }
  }
  return true;
}

void ReadHostname(TomlSection& root, Config& config) {
  std::string text;
  root.Require("hostname");
  if (!root.Text("hostname", text)) return;
  absl::StatusOr<std::string> name = NormalizeDomain(text);
  if (!name.ok()) return root.Fail("hostname", name.status().message());
  config.hostname = *std::move(name);
}

void ReadEngine(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[engine]", table);
  uint64_t number = 0;
  if (section.Number("shards", 0, limits::kShardsMax, number)) {
    config.shards = static_cast<uint32_t>(number);
  }
  if (section.Number("handshake_threads", 0, kHandshakeThreadsMost, number)) {
    config.handshake_threads = static_cast<uint32_t>(number);
  }
}

void ReadListener(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[[listener]]", table);
  ListenerConfig listener;
  section.Number("max_message_bytes", 1, kMessageBytesMost, listener.message_bytes_max);
  const bool relay_given = section.Has("relay_from");
  ReadNetworks(file, section, "relay_from", listener.relay_from);
  section.Text("certificate", listener.certificate);

  std::string text;
  section.Require("address");
  if (!section.Text("address", text)) return;
  const std::optional<SocketAddress> address = SocketAddress::Parse(text);
  if (!address) {
    return section.Fail("address", absl::StrCat("'", text,
                                                "' is not an address with a port, like "
                                                "\"127.0.0.1:2525\" or \"[::1]:2525\""));
  }
  listener.address = *address;
  if (!relay_given && !address->ip.IsLoopback()) {
    return section.Fail("address", absl::StrCat(text,
                                                " can be reached from other machines: say in "
                                                "relay_from which networks may inject"));
  }
  if (!relay_given) listener.relay_from = LoopbackNetworks();
  const toml::array* relay = table.get_as<toml::array>("relay_from");
  if (relay != nullptr && relay->empty()) {
    return section.Fail("relay_from", "is empty: nobody could inject through this listener");
  }
  for (const ListenerConfig& other : config.listeners) {
    if (other.address == listener.address && listener.address.port != 0) {
      return section.Fail("address", absl::StrCat(text, " is listened on twice"));
    }
  }
  config.listeners.push_back(std::move(listener));
}

void ReadListeners(const TomlFile& file, const toml::table& table, TomlSection& root,
                   Config& config) {
  for (const toml::table* listener : root.Tables("listener")) {
    ReadListener(file, *listener, config);
  }
  if (!root.Has("listener")) {
    config.listeners.push_back(
        {.address = *SocketAddress::Parse("127.0.0.1:2525"), .relay_from = LoopbackNetworks()});
  } else if (const toml::array* list = table.get_as<toml::array>("listener");
             list != nullptr && list->empty()) {
    root.Fail("listener", "at least one is needed");
  }
}

void ReadSpool(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[spool]", table);
  section.Path("path", config.spool_path);
  section.Flag("sync", config.spool_sync);
  uint64_t bytes = 0;
  if (section.Number("min_free_bytes", 0, kFreeBytesMost, bytes)) {
    config.spool_min_free_bytes = bytes;
  }
}

void ReadDestinations(const TomlFile& file, const toml::table& table, DestinationsFile& into) {
  TomlSection section(file, "[destinations]", table);
  if (section.Path("table", into.path)) into.named = true;
  std::string profile;
  if (!section.Text("profile", profile)) return;
  if (profile == "extended") {
    into.profile = policy::ControlsProfile::kExtended;
  } else if (profile != "compatible") {
    section.Fail("profile", absl::StrCat("must be \"compatible\" or \"extended\", not '",
                                         absl::CHexEscape(profile), "'"));
  }
}

void ReadRoutes(const TomlFile& file, const toml::table& table, TableFile& into) {
  TomlSection section(file, "[routes]", table);
  if (section.Path("table", into.path)) into.named = true;
}

// "192.0.2.1" or "192.0.2.1@53": how unbound writes a server.
bool ValidForwarder(absl::string_view text) {
  const size_t at = text.find('@');
  if (!IpAddress::Parse(text.substr(0, at))) return false;
  if (at == absl::string_view::npos) return true;
  const absl::string_view digits = text.substr(at + 1);
  uint32_t port = 0;
  const bool only_digits = digits.find_first_not_of("0123456789") == absl::string_view::npos;
  return only_digits && absl::SimpleAtoi(digits, &port) && port >= 1 && port <= 65535;
}

void ReadDns(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[dns]", table);
  std::vector<TomlText> texts;
  section.Texts("forward", texts);
  for (TomlText& text : texts) {
    if (ValidForwarder(text.text)) {
      config.dns_forward.push_back(std::move(text.text));
    } else {
      file.Fail(text.line, absl::StrCat("forward: '", text.text,
                                        "' is not a server, like \"192.0.2.1\" or "
                                        "\"127.0.0.1@5353\""));
    }
  }
  section.Path("trust_anchor", config.dns_trust_anchor);
}

// Of the engine as a whole; more than all shards can hold would be no cap.
void ReadCap(TomlSection& section, absl::string_view key, uint32_t& value) {
  uint64_t number = 0;
  if (section.Number(key, 0, kConnectionsMost, number)) value = static_cast<uint32_t>(number);
}

void ReadDelivery(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[delivery]", table);
  uint64_t port = 0;
  if (section.Number("port", 1, 65535, port)) config.delivery_port = static_cast<uint16_t>(port);
  ReadNetworks(file, section, "allow_addresses", config.allow_addresses);
  ReadCap(section, "connections_max", config.connections_max);
}

// Alerts to what is no address would be dropped without a word.
void CheckMailbox(TomlSection& section, const Config& config) {
  if (config.alert_address.empty()) return;
  const std::string path = absl::StrCat("<", config.alert_address, ">");
  absl::string_view input = path;
  const absl::StatusOr<smtp::Mailbox> mailbox = smtp::ParseForwardPath(input, "");
  if (mailbox.ok() && input.empty()) return;
  section.Fail("alert_address", absl::StrCat("'", absl::CHexEscape(config.alert_address),
                                             "' is no address of mail"));
}

void ReadTls(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[tls]", table);
  section.Path("ca_file", config.ca_file);
  ReadCap(section, "handshakes_max", config.handshakes_max);
  if (section.Text("alert_address", config.alert_address)) CheckMailbox(section, config);
}

void ReadSeconds(TomlSection& section, absl::string_view key, uint64_t least, Duration& value) {
  uint64_t seconds = 0;
  if (section.Number(key, least, kSecondsMost, seconds)) value = std::chrono::seconds(seconds);
}

// `profile` holds what is inherited.
void ReadBounceNumbers(TomlSection& section, policy::BounceProfile& profile) {
  ReadSeconds(section, "initial_retry_s", 1, profile.initial_retry);
  ReadSeconds(section, "max_retry_s", 1, profile.max_retry);
  ReadSeconds(section, "max_queue_s", 0, profile.max_queue);
  uint64_t retries = 0;
  if (section.Number("max_retries", 0, kRetriesMost, retries)) {
    profile.max_retries = static_cast<uint32_t>(retries);
  }
  if (profile.max_retry < profile.initial_retry) {
    section.Fail("max_retry_s",
                 absl::StrCat("is less than initial_retry_s in profile '", profile.name, "'"));
  }
}

void ReadBounceProfile(const TomlFile& file, const toml::table& table, bool defaults,
                       Config& config) {
  const std::string* given = nullptr;
  if (const toml::value<std::string>* text = table.get_as<std::string>("name"))
    given = &text->get();
  const bool is_default = given != nullptr && *given == "Default";
  if (is_default != defaults)
    return;  // "Default" is read in a round of its own: others inherit it.

  TomlSection section(file, "[[bounce_profile]]", table);
  policy::BounceProfile profile = config.bounce_profiles.front();
  section.Require("name");
  section.Text("name", profile.name);
  ReadBounceNumbers(section, profile);
  if (given == nullptr) return;
  if (given->empty()) return section.Fail("name", "must not be empty");
  if (!is_default && absl::EqualsIgnoreCase(*given, "Default")) {
    return section.Fail("name",
                        "must be written 'Default': a table cannot name another of that name");
  }
  if (is_default) {
    config.bounce_profiles.front() = std::move(profile);
    return;
  }
  for (const policy::BounceProfile& other : config.bounce_profiles) {
    if (other.name == profile.name) {
      return section.Fail("name", absl::StrCat("there are two profiles '", profile.name, "'"));
    }
  }
  config.bounce_profiles.push_back(std::move(profile));
}

void ReadBounceProfiles(const TomlFile& file, TomlSection& root, Config& config) {
  config.bounce_profiles.emplace_back();
  const std::vector<const toml::table*> tables = root.Tables("bounce_profile");
  bool seen_default = false;
  for (const toml::table* table : tables) {
    const toml::value<std::string>* name = table->get_as<std::string>("name");
    if (name == nullptr || name->get() != "Default") continue;
    if (seen_default) {
      file.Fail(static_cast<int>(name->source().begin.line),
                "name: there are two profiles 'Default'");
    }
    seen_default = true;
    ReadBounceProfile(file, *table, true, config);
  }
  for (const toml::table* table : tables) ReadBounceProfile(file, *table, false, config);
}

void ReadCertificate(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[[certificate]]", table);
  CertificateConfig certificate;
  section.Require("name");
  section.Require("certificate");
  section.Require("key");
  section.Text("name", certificate.name);
  section.Path("certificate", certificate.certificate);
  section.Path("key", certificate.key);
  for (const CertificateConfig& other : config.certificates) {
    if (other.name == certificate.name) {
      section.Fail("name", absl::StrCat("there are two certificates '", certificate.name, "'"));
    }
  }
  config.certificates.push_back(std::move(certificate));
}

void ReadLog(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[log]", table);
  section.Path("delivery", config.delivery_log);
}

void ReadControl(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[control]", table);
  if (section.Path("socket", config.control_socket) &&
      config.control_socket.size() >= sizeof(sockaddr_un::sun_path)) {
    section.Fail("socket", absl::StrCat("the path of a socket has at most ",
                                        sizeof(sockaddr_un::sun_path) - 1, " characters"));
  }
  std::string http;
  if (section.Text("http", http) && !http.empty()) {
    section.Fail("http", "this version does not serve HTTP yet; leave it empty");
  }
}

void ReadBounceVerification(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection section(file, "[bounce_verification]", table);
  section.Require("key");
  if (section.Text("key", config.bounce_key) && config.bounce_key.empty()) {
    section.Fail("key", "is empty");
  }
  uint64_t number = 0;
  if (section.Number("key_number", 0, 9, number)) {
    config.bounce_key_number = static_cast<int>(number);
  }
}

void ReadRoot(const TomlFile& file, const toml::table& table, Config& config) {
  TomlSection root(file, "", table);
  ReadHostname(root, config);
  if (const toml::table* t = root.Table("engine")) ReadEngine(file, *t, config);
  ReadListeners(file, table, root, config);
  if (const toml::table* t = root.Table("spool")) ReadSpool(file, *t, config);
  if (const toml::table* t = root.Table("destinations")) {
    ReadDestinations(file, *t, config.destinations);
  }
  if (const toml::table* t = root.Table("routes")) ReadRoutes(file, *t, config.routes);
  if (const toml::table* t = root.Table("dns")) ReadDns(file, *t, config);
  if (const toml::table* t = root.Table("delivery")) ReadDelivery(file, *t, config);
  if (const toml::table* t = root.Table("tls")) ReadTls(file, *t, config);
  ReadBounceProfiles(file, root, config);
  for (const toml::table* t : root.Tables("certificate")) ReadCertificate(file, *t, config);
  ReadSources(file, root, config.sources);
  if (const toml::table* t = root.Table("bounce_verification")) {
    ReadBounceVerification(file, *t, config);
  }
  if (const toml::table* t = root.Table("log")) ReadLog(file, *t, config);
  if (const toml::table* t = root.Table("control")) ReadControl(file, *t, config);
}

}  // namespace

std::vector<std::string> LinesOf(const std::vector<ConfigError>& errors) {
  std::vector<std::string> lines;
  for (const ConfigError& error : errors) lines.push_back(error.ToString());
  return lines;
}

std::string ConfigError::ToString() const {
  return absl::StrCat(file, ":", line, ": ", text);
}

LoadedConfig ParseConfig(absl::string_view text, const std::string& path) {
  LoadedConfig loaded;
  const TomlFile file = {.path = path, .errors = &loaded.errors};
  const toml::parse_result parsed = toml::parse(std::string_view(text.data(), text.size()), path);
  if (parsed.failed()) {
    const std::string_view description = parsed.error().description();
    file.Fail(static_cast<int>(parsed.error().source().begin.line), std::string(description));
    return loaded;
  }
  loaded.read = true;
  ReadRoot(file, parsed.table(), loaded.config);
  std::stable_sort(loaded.errors.begin(), loaded.errors.end(),
                   [](const ConfigError& a, const ConfigError& b) { return a.line < b.line; });
  return loaded;
}

LoadedConfig LoadConfig(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (text.ok()) return ParseConfig(*text, path);
  LoadedConfig loaded;
  loaded.errors.push_back(
      {.file = path, .text = absl::StrCat("cannot be read: ", text.status().message())});
  return loaded;
}

}  // namespace sluice
