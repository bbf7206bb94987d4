#include "tools/sluice/host_text.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::json;

std::string TimeText(const Json& unix_seconds) {
  if (!unix_seconds.is_number()) return "never";
  const absl::Time time = absl::UnixEpoch() + absl::Seconds(unix_seconds.get<double>());
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::LocalTimeZone());
}

void Row(absl::string_view label, absl::string_view value, std::ostream& out) {
  if (!value.empty()) out << absl::StreamFormat("%-14s %s\n", label, value);
}

std::string CountersText(const Json& counters) {
  return absl::StrCat(counters.value("delivered", 0), ", soft bounced ",
                      counters.value("soft_bounced", 0), ", hard bounced ",
                      counters.value("hard_bounced", 0), ", expired ",
                      counters.value("expired", 0));
}

std::string HostText(const Json& host) {
  const auto addresses = host.value("addresses", std::vector<std::string>());
  return absl::StrCat(host.value("preference", 0), " ", host.value("host", ""), ":",
                      host.value("port", 0), " (", absl::StrJoin(addresses, ", "), ")");
}

std::string ScopeText(const Json& scope) {
  std::string text;
  if (scope.contains("address")) absl::StrAppend(&text, "at ", scope.value("address", ""), " ");
  if (scope.contains("source")) {
    const std::string source = scope.value("source", "");
    absl::StrAppend(&text, "from ", source.empty() ? "the system's source" : source, " ");
  }
  return absl::StrCat(text, "(", scope.value("connections", 0), " connections, ",
                      scope.value("recipients", 0), " recipients in the window)");
}

std::string LaneText(const Json& lane) {
  const std::string binding = lane.value("binding_limit", "");
  return absl::StrCat(lane.value("pool", ""), " (", lane.value("waiting", 0), " messages, ",
                      lane.value("connections", 0), " connections, held by ",
                      binding.empty() ? "nothing" : binding, ")");
}

// The items of a list, a row each.
template <class Text>
void Rows(absl::string_view label, const Json& list, Text text, std::ostream& out) {
  for (const Json& item : list) {
    Row(label, text(item), out);
    label = "";
  }
}

// What its shard has of it.
void WriteKnown(const Json& said, std::ostream& out) {
  Row("waiting", absl::StrCat(said.value("waiting", 0), " messages in the queue"), out);
  Row("connections",
      absl::StrCat(said.value("connections", 0), " of ", said.value("concurrency_limit", 0), ", ",
                   said.value("opening", 0), " opening, ", said.value("idle", 0), " idle"),
      out);
  Row("failures", absl::StrCat(said.value("failures", 0), " in a row"), out);
  Row("last reply", said.value("last_reply", ""), out);
  Row("last TLS error", said.value("last_tls_reason", ""), out);
  Rows("route", said.value("route", Json::array()), HostText, out);
  Row("no route", said.value("route_reason", ""), out);
  if (said.value("each_address", false) || said.value("each_source", false)) {
    Rows("limits", said.value("scopes", Json::array()), ScopeText, out);
  }
  const Json lanes = said.value("lanes", Json::array());
  const bool pools = lanes.size() > 1 || (lanes.size() == 1 && lanes[0].value("pool", "") != "");
  if (pools) Rows("pools", lanes, LaneText, out);
  Row("tables", absl::StrCat("version ", said.value("table_version", 0)), out);
}

}  // namespace

void WriteHostStatus(const Json& said, std::ostream& out) {
  const Json counters = said.value("counters", Json::object());
  Row("held by", said.value("held_by", ""), out);
  Row("destination", said.value("domain", ""), out);
  Row("host", said.value("state", ""), out);
  Row("active", absl::StrCat(counters.value("active", 0), " recipients"), out);
  Row("delivered", CountersText(counters), out);
  Row("last activity", TimeText(counters.value("last_activity", Json())), out);
  Row("shard", absl::StrCat(said.value("shard", 0)), out);
  if (said.value("known", false)) WriteKnown(said, out);
}

void WriteTopHosts(const Json& said, std::ostream& out) {
  out << "Status as of: " << TimeText(said.value("as_of", Json())) << "\n"
      << "Hosts marked with '*' were down as of the last delivery attempt.\n\n"
      << absl::StreamFormat("%3s  %-40s  %9s  %9s  %9s  %9s  %9s\n", "", "", "Active", "Conn.",
                            "Deliv.", "Soft", "Hard")
      << absl::StreamFormat("%3s  %-40s  %9s  %9s  %9s  %9s  %9s\n", "#", "Recipient Host",
                            "Recip.", "Out", "Recip.", "Bounced", "Bounced");
  int number = 0;
  for (const Json& host : said.value("hosts", Json::array())) {
    out << absl::StreamFormat(
        "%3d%s %-40s  %9d  %9d  %9d  %9d  %9d\n", ++number, host.value("down", false) ? "*" : " ",
        host.value("domain", ""), host.value("active", int64_t{0}),
        host.value("connections", int64_t{0}), host.value("delivered", int64_t{0}),
        host.value("soft_bounced", int64_t{0}),
        host.value("hard_bounced", int64_t{0}) + host.value("expired", int64_t{0}));
  }
}

void WriteDeliverNow(const Json& said, std::ostream& out) {
  const std::string domain = said.value("domain", "");
  const char* limits = said.value("reset_limits", false) ? "; recipient limits begin anew" : "";
  if (said.contains("active") && said.value("active", 0) == 0) {
    out << domain << ": nothing waits" << limits << "\n";
  } else {
    out << domain << ": what waits is tried now" << limits << "\n";
  }
  const Json suspension = said.value("suspension", Json());
  if (!suspension.is_object()) return;
  out << "but " << suspension.value("domain", "")
      << " is suspended, and its mail waits until it is resumed: " << suspension.value("reason", "")
      << "\n";
}

void WriteSuspensions(const Json& suspensions, std::ostream& out) {
  if (suspensions.empty()) out << "nothing is suspended\n";
  for (const Json& one : suspensions) {
    const Json until = one.value("until", Json());
    out << absl::StreamFormat("%s is suspended since %s, until %s: %s\n", one.value("domain", ""),
                              TimeText(one.value("since", Json())),
                              until.is_null() ? std::string("it is resumed") : TimeText(until),
                              one.value("reason", ""));
  }
}

}  // namespace sluice::tools
