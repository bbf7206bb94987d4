#include "tools/sluice/tlsverify_report.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tls/certificate_facts.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;
using policy::TlsAction;
using policy::TlsFinding;
using policy::TlsLevel;

constexpr TlsLevel kLevels[] = {TlsLevel::kOff,           TlsLevel::kOn,
                                TlsLevel::kRequired,      TlsLevel::kOnVerify,
                                TlsLevel::kRequireVerify, TlsLevel::kRequireVerifyHosted};

std::string Text(absl::string_view text) {
  return std::string(text);
}

absl::string_view ActionWord(TlsAction action) {
  switch (action) {
    case TlsAction::kClear:
      return "clear";
    case TlsAction::kReconnectClear:
      return "clear-anew";
    case TlsAction::kUnverified:
      return "unverified";
    case TlsAction::kVerified:
      return "verified";
    case TlsAction::kNextHost:
      break;
  }
  return "refused";
}

absl::string_view ActionSentence(TlsAction action) {
  switch (action) {
    case TlsAction::kClear:
      return "mail goes in clear";
    case TlsAction::kReconnectClear:
      return "mail goes in clear, on a new connection";
    case TlsAction::kUnverified:
      return "mail goes encrypted, to whomever";
    case TlsAction::kVerified:
      return "mail goes encrypted, to a verified host";
    case TlsAction::kNextHost:
      break;
  }
  return "no mail goes here";
}

std::string HostText(const dns::RouteHost& host) {
  return absl::StrCat(host.preference, " ", host.name, ":", host.port);
}

std::string StepText(const dns::RouteStep& step) {
  return absl::StrCat(step.host, " at ", step.address.ToString());
}

int64_t Milliseconds(Duration time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

void Row(std::ostream& out, absl::string_view label, const std::string& value) {
  out << absl::StreamFormat("  %-11s %s\n", label, value);
}

void PrintChain(const tls::Chain& chain, std::ostream& out) {
  for (size_t i = 0; i < chain.size(); ++i) {
    Row(out, "certificate", absl::StrCat(i + 1, " of ", chain.size()));
    const std::optional<tls::CertificateFacts> facts = tls::FactsOf(chain[i]);
    if (!facts) {
      Row(out, "", "it cannot be read");
      continue;
    }
    Row(out, "  subject", facts->subject);
    Row(out, "  issuer", facts->issuer);
    Row(out, "  valid", absl::StrCat(facts->not_before, " to ", facts->not_after));
    if (!facts->names.empty()) Row(out, "  names", absl::StrJoin(facts->names, ", "));
    Row(out, "  key", absl::StrCat(facts->key, ", signed by ", facts->signature));
  }
}

void PrintLevels(const ProbedHost& host, const policy::TlsControls& controls, std::ostream& out) {
  for (const TlsLevel level : kLevels) {
    const policy::TlsDecision decision = host.Decision(level);
    const std::string reason = Text(policy::TlsReasonWord(decision.reason));
    out << absl::StreamFormat("%s %-22s %s%s\n", level == controls.level ? " *" : "  ",
                              Text(policy::TlsLevelName(level)),
                              Text(ActionSentence(decision.action)),
                              reason.empty() ? "" : absl::StrCat(" (", reason, ")"));
  }
}

Json RouteJson(const dns::Route& route) {
  Json json = {
      {"from_table", route.from_table}, {"reason", route.reason}, {"hosts", Json::array()}};
  for (const dns::RouteHost& host : route.hosts) {
    Json addresses = Json::array();
    for (const IpAddress& address : host.addresses) addresses.push_back(address.ToString());
    json["hosts"].push_back({{"name", host.name},
                             {"port", host.port},
                             {"preference", host.preference},
                             {"addresses", std::move(addresses)}});
  }
  return json;
}

Json ChainJson(const tls::Chain& chain) {
  Json json = Json::array();
  for (const std::vector<std::byte>& der : chain) {
    const std::optional<tls::CertificateFacts> facts = tls::FactsOf(der);
    if (!facts) {
      json.push_back(nullptr);
      continue;
    }
    json.push_back({{"subject", facts->subject},
                    {"issuer", facts->issuer},
                    {"not_before", facts->not_before},
                    {"not_after", facts->not_after},
                    {"names", facts->names},
                    {"key", facts->key},
                    {"signature", facts->signature}});
  }
  return json;
}

Json LevelsJson(const ProbedHost& host) {
  Json json;
  for (const TlsLevel level : kLevels) {
    const policy::TlsDecision decision = host.Decision(level);
    json[Text(policy::TlsLevelName(level))] = {
        {"action", Text(ActionWord(decision.action))},
        {"reason", Text(policy::TlsReasonWord(decision.reason))},
        {"met", host.Meets(level)}};
  }
  return json;
}

Json HostJson(const ProbedHost& host) {
  Json json = {{"host", host.step.host},
               {"address", host.step.address.ToString()},
               {"connect_ms", Milliseconds(host.connect_time)},
               {"failure", host.failure},
               {"in_clear", host.in_clear},
               {"under_tls", host.under_tls}};
  if (!host.judged) return json;
  json["established"] = host.finding == TlsFinding::kEstablished;
  json["server_name"] = host.server_name;
  json["protocol"] = host.protocol;
  json["cipher"] = host.cipher;
  json["chain"] = ChainJson(host.chain);
  json["detail"] = host.detail;
  json["levels"] = LevelsJson(host);
  return json;
}

}  // namespace

const ProbedHost* TlsverifyResult::Met() const {
  for (const ProbedHost& host : hosts) {
    if (host.Meets(controls.level)) return &host;
  }
  return nullptr;
}

void PrintDestination(const TlsverifyResult& result, std::ostream& out) {
  out << "destination   " << result.domain << "\n"
      << "level         " << policy::TlsLevelName(result.controls.level) << " ("
      << policy::TlsLevelLongName(result.controls.level) << ")\n"
      << "route         " << (result.route.from_table ? "routes table" : "MX") << ": "
      << (result.route.hosts.empty()
              ? result.route.reason
              : absl::StrJoin(
                    result.route.hosts, ", ",
                    [](std::string* text, const dns::RouteHost& host) { *text += HostText(host); }))
      << "\n";
  if (!result.note.empty()) out << "              " << result.note << "\n";
}

void PrintTrying(const dns::RouteStep& step, std::ostream& out) {
  out << "\n" << StepText(step) << std::endl;  // Flushed: what follows may take its time.
}

void PrintHost(const ProbedHost& host, const policy::TlsControls& controls, std::ostream& out) {
  if (!host.in_clear.empty())
    Row(out, "connected", absl::StrCat(Milliseconds(host.connect_time), " ms"));
  for (const std::string& line : host.in_clear) out << "  " << line << "\n";
  if (host.finding == TlsFinding::kEstablished && host.judged) {
    Row(out, "TLS", absl::StrCat(host.protocol, ", ", host.cipher));
    Row(out, "asked for", host.server_name.empty() ? "no name" : host.server_name);
    PrintChain(host.chain, out);
    for (const std::string& line : host.under_tls) out << "  " << line << "\n";
  }
  if (!host.failure.empty()) Row(out, "failed", host.failure);
  if (!host.judged) return;
  Row(out, "finding", host.detail);
  PrintLevels(host, controls, out);
}

void PrintEnd(const TlsverifyResult& result, std::ostream& out) {
  const ProbedHost* met = result.Met();
  out << "\n"
      << policy::TlsLevelName(result.controls.level)
      << (met == nullptr ? " is not met" : " is met by " + StepText(met->step)) << "\n";
}

void PrintJson(const TlsverifyResult& result, std::ostream& out) {
  Json json = {{"domain", result.domain},
               {"level", Text(policy::TlsLevelName(result.controls.level))},
               {"met", result.Met() != nullptr},
               {"route", RouteJson(result.route)},
               {"note", result.note},
               {"hosts", Json::array()}};
  for (const ProbedHost& host : result.hosts) json["hosts"].push_back(HostJson(host));
  out << json.dump(2) << "\n";
}

}  // namespace sluice::tools
