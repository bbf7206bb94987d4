#include "engine/suspensions.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/domain_name.h"
#include "engine/durable_file.h"
#include "engine/text_file.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;
using policy::Suspension;

constexpr char kAll[] = "ALL";

std::string TimeText(WallTime time) {
  const absl::Time then = absl::FromUnixNanos(time.time_since_epoch().count());
  return absl::FormatTime(absl::RFC3339_full, then, absl::UTCTimeZone());
}

std::optional<WallTime> ParseTime(const Json& text) {
  absl::Time time;
  std::string error;
  if (!text.is_string()) return std::nullopt;
  if (!absl::ParseTime(absl::RFC3339_full, text.get<std::string>(), &time, &error)) {
    return std::nullopt;
  }
  return WallTime(std::chrono::nanoseconds(absl::ToUnixNanos(time)));
}

// The key of a name that this program has written; nullopt: it has not.
std::optional<std::string> KeyOfName(const std::string& name) {
  if (name == kAll) return "";
  const bool partial = absl::StartsWith(name, ".");
  const absl::StatusOr<std::string> domain = NormalizeDomain(name.substr(partial ? 1 : 0));
  if (!domain.ok() || absl::StrCat(partial ? "." : "", *domain) != name) return std::nullopt;
  return name;
}

std::string TextOf(const std::vector<Suspension>& all) {
  Json list = Json::array();
  for (const Suspension& one : all) {
    Json entry = {{"domain", SuspendedName(one)}, {"since", TimeText(one.since)}};
    if (one.until) entry["until"] = TimeText(*one.until);
    entry["reason"] = one.reason;
    list.push_back(std::move(entry));
  }
  return Json{{"suspensions", std::move(list)}}.dump(2, ' ', false,
                                                     Json::error_handler_t::replace) +
         "\n";
}

// nullopt: it is damaged. What this program did not write is damage too: a misspelt "until" would
// hold mail for ever, a misspelt domain not at all.
std::optional<Suspension> ParseOne(const Json& entry) {
  if (!entry.is_object() || !entry.contains("domain") || !entry.contains("since") ||
      !entry.contains("reason") || !entry["domain"].is_string() || !entry["reason"].is_string()) {
    return std::nullopt;
  }
  if (entry.size() != (entry.contains("until") ? 4 : 3)) return std::nullopt;
  const std::optional<std::string> domain = KeyOfName(entry["domain"].get<std::string>());
  const std::optional<WallTime> since = ParseTime(entry["since"]);
  if (!domain || !since) return std::nullopt;
  Suspension one = {
      .domain = *domain, .since = *since, .reason = entry["reason"].get<std::string>()};
  if (!entry.contains("until")) return one;
  one.until = ParseTime(entry["until"]);
  return one.until ? std::optional(one) : std::nullopt;
}

std::optional<std::vector<Suspension>> ParseAll(const std::string& text) {
  const Json read = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!read.is_object() || read.size() != 1 || !read.contains("suspensions")) return std::nullopt;
  const Json& list = read["suspensions"];
  if (!list.is_array()) return std::nullopt;
  std::map<std::string, Suspension> by_domain;
  for (const Json& entry : list) {
    std::optional<Suspension> one = ParseOne(entry);
    if (!one || !by_domain.emplace(one->domain, *one).second) return std::nullopt;
  }
  std::vector<Suspension> all;
  for (auto& [domain, one] : by_domain) all.push_back(std::move(one));
  return all;
}

std::map<std::string, Suspension> ByDomain(std::vector<Suspension> all) {
  std::map<std::string, Suspension> by_domain;
  for (Suspension& one : all) by_domain.insert_or_assign(one.domain, std::move(one));
  return by_domain;
}

std::vector<Suspension> InOrder(std::map<std::string, Suspension> by_domain) {
  std::vector<Suspension> all;
  for (auto& [domain, one] : by_domain) all.push_back(std::move(one));
  return all;
}

// Where another suspension holds the domain, that one is to be resumed.
absl::Status NotSuspended(const std::string& domain, const policy::Suspensions& active,
                          WallTime now) {
  const std::string name = SuspendedName({.domain = domain});
  const Suspension* wider = active.Find(domain, now);
  if (wider == nullptr) return absl::NotFoundError(absl::StrCat(name, " is not suspended"));
  return absl::NotFoundError(absl::StrCat(name, " is suspended by ", SuspendedName(*wider),
                                          ", and can only be resumed with it"));
}

}  // namespace

std::string SuspendedName(const Suspension& suspension) {
  return suspension.domain.empty() ? kAll : suspension.domain;
}

absl::StatusOr<SuspensionList> SuspensionList::Load(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (absl::IsNotFound(text.status())) return SuspensionList(path, {});
  if (!text.ok()) {
    return absl::UnavailableError(absl::StrCat(path, ": ", text.status().message()));
  }
  std::optional<std::vector<Suspension>> all = ParseAll(*text);
  if (!all) {
    return absl::DataLossError(
        absl::StrCat(path,
                     ": the list of suspended destinations is damaged; mend it, or remove it "
                     "if nothing is to be held"));
  }
  return SuspensionList(path, std::move(*all));
}

absl::Status SuspensionList::Suspend(std::vector<Suspension> more, WallTime now) {
  std::map<std::string, Suspension> by_domain = ByDomain(Active(now));
  for (Suspension& one : more) by_domain.insert_or_assign(one.domain, std::move(one));
  if (by_domain.size() > kSuspensionsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no more than ", kSuspensionsMax, " suspensions: suspend a partial domain"));
  }
  return Replace(InOrder(std::move(by_domain)));
}

absl::Status SuspensionList::Resume(const std::vector<std::string>& domains, WallTime now) {
  if (domains.empty()) return Replace({});
  std::map<std::string, Suspension> by_domain = ByDomain(Active(now));
  for (const std::string& domain : domains) {
    if (!by_domain.contains(domain)) return NotSuspended(domain, *ForShards(now), now);
  }
  for (const std::string& domain : domains) by_domain.erase(domain);
  return Replace(InOrder(std::move(by_domain)));
}

std::vector<Suspension> SuspensionList::Active(WallTime now) const {
  std::vector<Suspension> active;
  std::copy_if(all_.begin(), all_.end(), std::back_inserter(active),
               [now](const Suspension& one) { return !one.until || *one.until > now; });
  return active;
}

std::shared_ptr<const policy::Suspensions> SuspensionList::ForShards(WallTime now) const {
  return std::make_shared<const policy::Suspensions>(Active(now));
}

absl::Status SuspensionList::Replace(std::vector<Suspension> all) {
  const absl::Status written = ReplaceFile(path_, TextOf(all));
  if (written.ok() || absl::IsDataLoss(written)) all_ = std::move(all);
  return written;
}

}  // namespace sluice
