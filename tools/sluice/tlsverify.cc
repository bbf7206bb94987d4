#include "tools/sluice/tlsverify.h"

#include <algorithm>
#include <chrono>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/base/random.h"
#include "engine/config.h"
#include "engine/delivery/tls_intent.h"
#include "engine/io/clock.h"
#include "engine/tables.h"
#include "policy/controls_table.h"
#include "policy/ip_preference.h"
#include "tools/sluice/handshake_desk.h"
#include "tools/sluice/route_finder.h"
#include "tools/sluice/tls_probe.h"
#include "tools/sluice/tlsverify_report.h"

namespace sluice::tools {
namespace {

constexpr int kMet = 0;
constexpr int kNotMet = 1;
constexpr int kCannotAsk = 2;

int CannotAsk(std::ostream& errors, absl::string_view why) {
  errors << "sluice: " << why << "\n";
  return kCannotAsk;
}

bool Print(const std::vector<ConfigError>& found, std::ostream& errors) {
  for (const ConfigError& error : found) errors << error.ToString() << "\n";
  return !found.empty();
}

// A host on the command line is written as in the routes table.
absl::StatusOr<dns::RoutesTable> TableOfOne(const std::string& domain, const std::string& host,
                                            uint16_t port) {
  if (host.find_first_of(" \t\r\n,/#") != std::string::npos) {
    return absl::InvalidArgumentError("one host, please: HOST[:PORT]");
  }
  std::vector<dns::RoutesError> found;
  dns::RoutesTable table = dns::RoutesTable::Parse(absl::StrCat(domain, " ", host), port, found);
  if (!found.empty()) return absl::InvalidArgumentError(found.front().text);
  return table;
}

bool IsHostOf(const dns::Route& route, const dns::RouteHost& sought) {
  return std::any_of(route.hosts.begin(), route.hosts.end(), [&](const dns::RouteHost& host) {
    return host.name == sought.name && host.port == sought.port;
  });
}

// Asks one host of the route. One that is not of the route is judged as if the routes table named
// it.
absl::Status AskOnly(const std::string& host, const Config& config, TlsverifyResult& result) {
  absl::StatusOr<dns::RoutesTable> table = TableOfOne(result.domain, host, config.delivery_port);
  if (!table.ok()) return table.status();
  absl::StatusOr<dns::Route> asked = FindRoute(config, result.domain, *table);
  if (!asked.ok()) return asked.status();
  result.asked = *std::move(asked);
  if (!result.asked.hosts.empty() && IsHostOf(result.route, result.asked.hosts.front())) {
    result.note = "only this host of the route is asked";
  } else {
    result.note = "the host is not of the domain's route: judged as if the routes table named it";
    result.route = result.asked;
  }
  return absl::OkStatus();
}

absl::Status FindHosts(const TlsverifyOptions& options, const Config& config,
                       const dns::RoutesTable& routes, TlsverifyResult& result) {
  absl::StatusOr<dns::Route> route = FindRoute(config, result.domain, routes);
  if (!route.ok()) return route.status();
  result.route = *std::move(route);
  result.asked = result.route;
  return options.host.empty() ? absl::OkStatus() : AskOnly(options.host, config, result);
}

dns::FamilyOrder FamiliesOf(const TlsverifyResult& result) {
  return {.first = policy::FamilyOf(result.ip_preference),
          .only = policy::RequiresFamily(result.ip_preference)};
}

void NoteMissingFamily(TlsverifyResult& result) {
  bool any = result.asked.hosts.empty();  // Then the route's reason is told.
  for (const dns::RouteHost& host : result.asked.hosts) {
    any |= std::any_of(host.addresses.begin(), host.addresses.end(), [&](const IpAddress& address) {
      return dns::Allows(FamiliesOf(result), address);
    });
  }
  if (any) return;
  absl::StrAppend(&result.note, result.note.empty() ? "" : "; ",
                  "no address that ip_sort_pref = ", policy::IpPreferenceName(result.ip_preference),
                  " allows");
}

// A destination without TLS is asked as one that prefers it.
policy::TlsControls AskedControls(const TlsverifyResult& result) {
  policy::TlsControls controls = result.controls;
  if (controls.level == policy::TlsLevel::kOff) controls.level = policy::TlsLevel::kOn;
  return controls;
}

// In delivery's order, until one is met.
void AskHosts(const TlsverifyOptions& options, const Config& config,
              const delivery::TlsIntent& intent, TlsverifyResult& result, std::ostream& out) {
  HandshakeDesk desk;
  const Duration patience =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.patience_s));
  Random random(static_cast<uint64_t>(io::ReadClock().instant.time_since_epoch().count()));
  for (const dns::RouteStep& step : dns::OrderRoute(result.asked, FamiliesOf(result), random)) {
    if (!options.json) PrintTrying(step, out);
    TlsProbe probe({.ehlo_name = config.hostname, .intent = &intent, .patience = patience}, desk);
    result.hosts.push_back(probe.Run(step));
    if (!options.json) PrintHost(result.hosts.back(), result.controls, out);
    if (result.Met() != nullptr && !options.every_host) return;
  }
}

}  // namespace

int Tlsverify(const TlsverifyOptions& options, std::ostream& out, std::ostream& errors) {
  const LoadedConfig loaded = LoadConfig(options.config_path);
  if (Print(loaded.errors, errors)) return kCannotAsk;
  const Config& config = loaded.config;
  LoadedControls controls = LoadControls(config.destinations);
  LoadedRoutes routes = LoadRoutes(config.routes, config.delivery_port);
  const bool controls_fail = Print(controls.errors, errors);
  const bool routes_fail = Print(routes.errors, errors);
  if (controls_fail || routes_fail) return kCannotAsk;
  const absl::StatusOr<std::string> domain = NormalizeDomain(options.domain);
  if (!domain.ok()) return CannotAsk(errors, domain.status().message());

  TlsverifyResult result = {.domain = *domain};
  const policy::ControlsTable table(std::move(controls.entries));
  result.controls = table.Lookup(*domain).tls;
  result.ip_preference = table.Lookup(*domain).ip_preference;
  const absl::Status hosts = FindHosts(options, config, routes.table, result);
  if (!hosts.ok()) return CannotAsk(errors, hosts.message());
  NoteMissingFamily(result);
  if (!options.json) PrintDestination(result, out);

  const policy::TlsControls asked = AskedControls(result);
  const LoadedTls tls = LoadTls(config, {asked}, io::ReadClock().wall);
  if (Print(tls.errors, errors)) return kCannotAsk;
  AskHosts(options, config, delivery::MakeIntent(*domain, asked, *tls.environment, result.route),
           result, out);
  options.json ? PrintJson(result, out) : PrintEnd(result, out);
  return result.Met() != nullptr ? kMet : kNotMet;
}

}  // namespace sluice::tools
