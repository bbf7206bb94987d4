// What tlsverify prints: as it goes along, for people; or at the end, as JSON.

#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "engine/dns/route.h"
#include "policy/ip_preference.h"
#include "policy/tls_controls.h"
#include "tools/sluice/tls_probe.h"

namespace sluice::tools {

struct TlsverifyResult {
  std::string domain;  // Normalised.
  policy::TlsControls controls;
  policy::IpPreference ip_preference = policy::IpPreference::kPreferV6;
  dns::Route route;  // By which the names are judged.
  dns::Route asked;  // What is asked of it: all, or one host.
  std::string note;  // On the difference, or why no address is asked; empty: none.
  std::vector<ProbedHost> hosts;

  // The first address where mail would be sent; null: nowhere.
  const ProbedHost* Met() const;
};

void PrintDestination(const TlsverifyResult& result, std::ostream& out);
void PrintTrying(const dns::RouteStep& step, std::ostream& out);
void PrintHost(const ProbedHost& host, const policy::TlsControls& controls, std::ostream& out);
void PrintEnd(const TlsverifyResult& result, std::ostream& out);

void PrintJson(const TlsverifyResult& result, std::ostream& out);

}  // namespace sluice::tools
