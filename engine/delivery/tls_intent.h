// What a connection is to do about TLS, as its destination's controls stood when it was opened, and
// what came of it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/dns/route.h"
#include "engine/smtp/client_session.h"
#include "policy/tls_controls.h"
#include "policy/tls_decision.h"
#include "tls/environment.h"
#include "tls/handshaker.h"

namespace sluice::delivery {

// Shared by the connections of a destination; replaced when its controls, its route or the tables
// of certificates change.
struct TlsIntent {
  policy::TlsControls controls;
  std::shared_ptr<const tls::Context> context;
  std::shared_ptr<const tls::TrustStore> trust;
  tls::References references;
  uint64_t tables = 0;         // The version that it was made under,
  uint64_t route_version = 0;  // and of the route.
};

// For the log, the queue's view and bounces.
struct TlsOutcome {
  policy::TlsLevel level = policy::TlsLevel::kOff;
  policy::TlsDecision decision = {.action = policy::TlsAction::kClear};
  std::string protocol;
  std::string cipher;
  std::string subject;  // Of the host's certificate.
};

// Of a destination whose level is not off; `environment` was loaded for its controls.
TlsIntent MakeIntent(absl::string_view domain, const policy::TlsControls& controls,
                     const tls::Environment& environment, const dns::Route& route);

// What a receiver did, by its answer to STARTTLS; never kNone.
policy::TlsFinding FindingOf(smtp::TlsAnswer answer);

// Whether a connection that was opened under `opened` may serve under `now`. Either may be null:
// no TLS.
bool AsksTheSame(const TlsIntent* opened, const TlsIntent* now);

// The handshake's plan with one address of the route, from one source: receivers may tell their
// sessions apart by who comes.
std::shared_ptr<const tls::ClientPlan> MakePlan(const TlsIntent& intent, absl::string_view host,
                                                const SocketAddress& address,
                                                absl::string_view source, bool resumes);

}  // namespace sluice::delivery
