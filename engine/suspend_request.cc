#include "engine/suspend_request.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr int64_t kSpanDaysMax = 365;

absl::Status Bad(const std::string& why) {
  return absl::InvalidArgumentError(why);
}

// An object with no other members than these; an empty body is an empty object.
absl::StatusOr<Json> ParseObject(const std::string& body,
                                 std::initializer_list<absl::string_view> members) {
  if (body.empty()) return Json::object();
  Json read = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!read.is_object()) return Bad("the request is no JSON object");
  for (const auto& [name, value] : read.items()) {
    if (std::find(members.begin(), members.end(), name) == members.end()) {
      return Bad(absl::StrCat("'", name, "' is no part of this request"));
    }
  }
  return read;
}

// Empty where none are named.
absl::StatusOr<std::vector<std::string>> DomainsOf(const Json& request) {
  std::vector<std::string> domains;
  if (!request.contains("domains")) return domains;
  if (!request["domains"].is_array()) return Bad("domains: no list");
  for (const Json& text : request["domains"]) {
    if (!text.is_string()) return Bad("domains: they are strings");
    absl::StatusOr<std::string> domain = ParseSuspendedDomain(text.get<std::string>());
    if (!domain.ok()) return domain.status();
    domains.push_back(std::move(*domain));
  }
  return domains;
}

absl::Status CheckReason(absl::string_view reason) {
  if (absl::StripAsciiWhitespace(reason).empty()) {
    return Bad("a reason is required: whoever finds the mail held will ask");
  }
  if (reason.size() > SuspendRequest::kReasonBytesMax) {
    return Bad(absl::StrCat("the reason has ", reason.size(), " bytes; ",
                            SuspendRequest::kReasonBytesMax, " are the most"));
  }
  const bool controls = std::any_of(reason.begin(), reason.end(),
                                    [](unsigned char c) { return absl::ascii_iscntrl(c); });
  return controls ? Bad("the reason is one line of text, without control characters")
                  : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ParseSuspendedDomain(absl::string_view text) {
  if (absl::EqualsIgnoreCase(text, "ALL")) return std::string();
  const bool partial = absl::StartsWith(text, ".");
  const absl::StatusOr<std::string> domain = NormalizeDomain(text.substr(partial ? 1 : 0));
  if (!domain.ok()) {
    return Bad(absl::StrCat("'", text, "' is no domain: ", domain.status().message()));
  }
  if (partial && IsAddressLiteral(*domain)) {
    return Bad(absl::StrCat("'", text, "' is no domain: an address has no parts"));
  }
  return absl::StrCat(partial ? "." : "", *domain);
}

absl::StatusOr<Duration> ParseSpan(absl::string_view text) {
  const auto bad = [text] {
    return Bad(absl::StrCat("'", text, "' is no time: 90s, 30m, 1h or 2d, from 1s to ",
                            kSpanDaysMax, "d"));
  };
  if (text.size() < 2 || text.size() > 10) return bad();
  const absl::string_view digits = text.substr(0, text.size() - 1);
  const bool whole = std::all_of(digits.begin(), digits.end(),
                                 [](unsigned char c) { return absl::ascii_isdigit(c); });
  int64_t count = 0;
  if (!whole || !absl::SimpleAtoi(digits, &count) || count == 0) return bad();
  std::chrono::seconds unit{};
  switch (absl::ascii_tolower(static_cast<unsigned char>(text.back()))) {
    case 's':
      unit = std::chrono::seconds(1);
      break;
    case 'm':
      unit = std::chrono::minutes(1);
      break;
    case 'h':
      unit = std::chrono::hours(1);
      break;
    case 'd':
      unit = std::chrono::hours(24);
      break;
    default:
      return bad();
  }
  if (count > std::chrono::hours(24 * kSpanDaysMax) / unit) return bad();
  return count * unit;
}

absl::StatusOr<SuspendRequest> ParseSuspendRequest(const std::string& body) {
  const absl::StatusOr<Json> read = ParseObject(body, {"domains", "for", "reason"});
  if (!read.ok()) return read.status();
  SuspendRequest request;
  absl::StatusOr<std::vector<std::string>> domains = DomainsOf(*read);
  if (!domains.ok()) return domains.status();
  request.domains = std::move(*domains);
  if (request.domains.empty()) request.domains.emplace_back();
  if (read->contains("for")) {
    const Json& text = (*read)["for"];
    if (!text.is_string()) return absl::InvalidArgumentError("for: must be a string, as \"30m\"");
    const absl::StatusOr<Duration> span = ParseSpan(text.get<std::string>());
    if (!span.ok()) return span.status();
    request.span = *span;
  }
  if (read->contains("reason") && (*read)["reason"].is_string()) {
    request.reason = (*read)["reason"].get<std::string>();
  }
  absl::Status reason = CheckReason(request.reason);
  if (!reason.ok()) return reason;
  return request;
}

absl::StatusOr<std::vector<std::string>> ParseResumeRequest(const std::string& body) {
  const absl::StatusOr<Json> read = ParseObject(body, {"domains"});
  if (!read.ok()) return read.status();
  return DomainsOf(*read);
}

}  // namespace sluice
