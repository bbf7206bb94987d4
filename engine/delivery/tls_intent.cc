#include "engine/delivery/tls_intent.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/check.h"

namespace sluice::delivery {

TlsIntent MakeIntent(absl::string_view domain, const policy::TlsControls& controls,
                     const tls::Environment& environment, const dns::Route& route) {
  TlsIntent intent;
  intent.controls = controls;
  intent.context = environment.ContextFor(controls);
  intent.trust = environment.TrustFor(controls);
  intent.references.domain = std::string(domain);
  std::vector<std::string>& hosts =
      route.from_table ? intent.references.route_hosts : intent.references.mx_hosts;
  for (const dns::RouteHost& host : route.hosts) hosts.push_back(host.name);
  // Hosts of equal preference come in any order, and are the same hosts.
  std::sort(hosts.begin(), hosts.end());
  return intent;
}

policy::TlsFinding FindingOf(smtp::TlsAnswer answer) {
  using policy::TlsFinding;
  switch (answer) {
    case smtp::TlsAnswer::kNotOffered:
      return TlsFinding::kNoStartTls;
    case smtp::TlsAnswer::kEhloRefused:
      return TlsFinding::kEhloRefused;
    case smtp::TlsAnswer::kRefused:
      return TlsFinding::kStartTlsRefused;
    case smtp::TlsAnswer::kGarbage:
      return TlsFinding::kStartTlsGarbage;
    case smtp::TlsAnswer::kSilence:
      return TlsFinding::kStartTlsSilence;
    case smtp::TlsAnswer::kClosed:
      return TlsFinding::kStartTlsClosed;
    case smtp::TlsAnswer::kInjected:
      return TlsFinding::kInjected;
    case smtp::TlsAnswer::kNone:
      break;
  }
  CHECK(answer != smtp::TlsAnswer::kNone);
  return TlsFinding::kHandshakeFailed;
}

std::shared_ptr<const tls::ClientPlan> MakePlan(const TlsIntent& intent, absl::string_view host,
                                                const SocketAddress& address,
                                                absl::string_view source, bool resumes) {
  auto plan = std::make_shared<tls::ClientPlan>();
  plan->context = intent.context;
  // An address literal is no name to ask for (RFC 6066 3).
  const bool named = !IpAddress::Parse(host);
  if (intent.controls.sni && named) plan->server_name = std::string(host);
  plan->references = intent.references;
  plan->trust = intent.trust;
  plan->resumes = resumes;
  plan->judging.accept_common_name = intent.controls.accept_cn;
  plan->session_key =
      tls::SessionKey{
          .host = std::string(host),
          .address = address,
          .source = std::string(source),
          .server_name = plan->server_name,
          .names = absl::StrCat(intent.references.domain, " ",
                                absl::StrJoin(intent.references.mx_hosts, ","), " ",
                                absl::StrJoin(intent.references.route_hosts, ","), " ",
                                intent.controls.accept_cn ? "cn" : ""),
          .level = static_cast<uint8_t>(intent.controls.level),
          .trust_version = intent.trust == nullptr ? 0 : intent.trust->version(),
          .context_version = intent.tables,
      }
          .Text();
  return plan;
}

bool AsksTheSame(const TlsIntent* opened, const TlsIntent* now) {
  if (opened == nullptr || now == nullptr) return opened == now;
  const auto version = [](const TlsIntent& intent) {
    return intent.trust == nullptr ? 0 : intent.trust->version();
  };
  return opened->controls == now->controls && opened->references == now->references &&
         version(*opened) == version(*now);
}

}  // namespace sluice::delivery
