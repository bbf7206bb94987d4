#include "tools/sluice/host_verbs.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/top_hosts.h"
#include "tools/sluice/host_text.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::json;

int Refuse(absl::string_view why, std::ostream& errors) {
  errors << "sluice: " << why << "\n";
  return 1;
}

// As JSON, whatever bytes the command line held: the engine says what is wrong with them.
std::string BodyOf(const Json& request) {
  return request.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

int HostStatus(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
               std::ostream& errors) {
  const absl::StatusOr<std::string> domain = NormalizeDomain(asked.domain);
  if (!domain.ok()) return Refuse(domain.status().message(), errors);
  return AskAndShow(options, {"GET", "/v1/destinations/" + *domain, ""}, out, errors,
                    [&out](const Json& said) { WriteHostStatus(said, out); });
}

int ShowTopHosts(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
                 std::ostream& errors) {
  const std::optional<TopBy> by = ParseTopBy(asked.by);
  if (!by) {
    return Refuse(absl::StrCat("'", asked.by, "': active, connections, delivered, soft or hard"),
                  errors);
  }
  return AskAndShow(options, {"GET", absl::StrCat("/v1/tophosts?by=", TopByWord(*by)), ""}, out,
                    errors, [&out](const Json& said) { WriteTopHosts(said, out); });
}

int DeliverNow(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
               std::ostream& errors) {
  Json request = {{"reset_limits", asked.resets_limits}};
  if (!asked.domain.empty()) request["domain"] = asked.domain;
  return AskAndShow(options, {"POST", "/v1/delivernow", BodyOf(request)}, out, errors,
                    [&out](const Json& said) { WriteDeliverNow(said, out); });
}

int Suspend(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
            std::ostream& errors) {
  const auto show = [&out](const Json& said) { WriteSuspensions(said["suspensions"], out); };
  if (asked.lists) {
    const bool more = !asked.domains.empty() || !asked.span.empty() || !asked.reason.empty();
    if (more) return Refuse("--list changes nothing and takes nothing else", errors);
    return AskAndShow(options, {"GET", "/v1/suspensions", ""}, out, errors, show);
  }
  Json request = {{"domains", asked.domains}, {"reason", asked.reason}};
  if (!asked.span.empty()) request["for"] = asked.span;
  return AskAndShow(options, {"POST", "/v1/suspend", BodyOf(request)}, out, errors, show);
}

int Resume(const EngineOptions& options, const HostVerbOptions& asked, std::ostream& out,
           std::ostream& errors) {
  const Json request = {{"domains", asked.domains}};
  return AskAndShow(options, {"POST", "/v1/resume", BodyOf(request)}, out, errors,
                    [&out](const Json& said) { WriteSuspensions(said["suspensions"], out); });
}

}  // namespace sluice::tools
