#include "engine/held_by.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/suspensions.h"
#include "policy/budget.h"
#include "policy/ip_preference.h"

namespace sluice {
namespace {

using delivery::DestinationStatus;
using delivery::LaneStatus;
using delivery::ScopeStatus;
using policy::Limit;
using policy::LimitName;
using policy::Limits;
using ScopeReport = policy::DestinationBudget::ScopeReport;

std::string Count(uint64_t count, absl::string_view noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

absl::Time ToAbsl(WallTime time) {
  return absl::FromUnixNanos(time.time_since_epoch().count());
}

// The words of one report.
class Words {
 public:
  Words(const HostReport& report, absl::TimeZone zone) : report_(report), zone_(zone) {}

  std::string Sentence() const {
    if (report_.suspension) return Suspended(*report_.suspension);
    const LaneStatus* lane = BoundLane(report_);
    if (lane == nullptr) return Nothing();
    return absl::StrCat(lane->binding, ": ", What(*report_.status, *lane));
  }

 private:
  std::string At(WallTime time) const { return ClockText(time, report_.now.wall, zone_); }
  std::string At(Instant instant) const { return At(WallOf(report_, instant)); }
  std::string Since(const LaneStatus& lane) const {
    return absl::StrCat("; since ", At(lane.binding_since));
  }

  std::string Suspended(const policy::Suspension& suspension) const {
    const std::string name = SuspendedName(suspension);
    return absl::StrCat("suspended", name == report_.domain ? "" : absl::StrCat(" with ", name),
                        ": ", suspension.reason, "; since ", At(suspension.since),
                        suspension.until ? absl::StrCat(", until ", At(*suspension.until))
                                         : ", until it is resumed");
  }

  std::string Nothing() const {
    if (report_.counters.active == 0) return "nothing waits";
    uint64_t waiting = 0;
    uint32_t busy = 0;
    if (report_.status) {
      for (const LaneStatus& lane : report_.status->lanes) {
        waiting += lane.waiting;
        busy += lane.connections - lane.idle;
      }
    }
    if (waiting == 0 && busy == 0) {
      return absl::StrCat("nothing holds it back; ", Count(report_.counters.active, "recipient"),
                          " to be tried again at the time of the next attempt");
    }
    return absl::StrCat("nothing holds it back; it is delivered by ", Count(busy, "connection"));
  }

  // What binds, by its word (delivery/lane.h).
  std::string What(const DestinationStatus& status, const LaneStatus& lane) const {
    const auto is = [&lane](Limit limit) { return lane.binding == LimitName(limit); };
    if (is(Limit::kConnections)) return Connections(status, lane);
    if (is(Limit::kSystemConnections)) {
      return absl::StrCat(status.system.connections, " of ",
                          Count(status.controls.system.connections_max, "connection"),
                          " of the whole destination", Since(lane), ", until one ends");
    }
    if (is(Limit::kRecipients)) return Recipients(status, lane);
    if (is(Limit::kSystemRecipients)) {
      return OfWindow(status.system, status.controls.system, " of the whole destination", lane);
    }
    if (is(Limit::kScopes)) {
      return absl::StrCat("no more addresses can have limits of their own than ",
                          policy::DestinationBudget::kScopesMax, Since(lane));
    }
    if (lane.binding == "hosts") return Hosts(lane);
    if (lane.binding == "route") return Route(status, lane);
    return absl::StrCat(Reason(status, lane), Since(lane), Next(lane, "looked for"));
  }

  std::string Reason(const DestinationStatus& status, const LaneStatus& lane) const {
    if (lane.binding == "ip_preference") {
      return absl::StrCat("no host has an address as ",
                          policy::IpPreferenceName(status.controls.ip_preference), " asks for");
    }
    if (lane.binding == "source_family") {
      return "no source of the pool has an address of a family that the hosts have";
    }
    if (lane.binding == "source_suspended") {
      return "the addresses of the pool's sources are not on this machine";
    }
    if (lane.binding == "engine_connections") return "the engine has no connection left";
    if (lane.binding == "engine_handshakes") return "the engine has no TLS handshake left";
    return "held back";
  }

  std::string Next(const LaneStatus& lane, absl::string_view done) const {
    if (lane.look_again == kNever) return "";
    return absl::StrCat(", ", done, " again at ", At(lane.look_again));
  }

  // " at 192.0.2.1 from vg1"; empty where the whole destination is one scope.
  std::string Place(const DestinationStatus& status, const ScopeStatus& scope) const {
    std::string place;
    if (status.controls.scope.each_address) {
      absl::StrAppend(&place, " at ", scope.counts.key.address.ToString());
    }
    if (status.controls.scope.each_source) {
      absl::StrAppend(&place, " from ",
                      scope.source.empty() ? "the system's source" : scope.source);
    }
    return place;
  }

  // The fullest scope speaks for the others.
  std::string Connections(const DestinationStatus& status, const LaneStatus& lane) const {
    const auto fullest = std::max_element(
        status.scopes.begin(), status.scopes.end(),
        [](const auto& a, const auto& b) { return a.counts.connections < b.counts.connections; });
    const bool none = fullest == status.scopes.end();
    return absl::StrCat(none ? 0 : fullest->counts.connections, " of ",
                        Count(status.controls.limits.connections_max, "connection"),
                        none ? "" : Place(status, *fullest), Since(lane), ", until one ends");
  }

  // Of the scopes that are full, the one that has room first.
  std::string Recipients(const DestinationStatus& status, const LaneStatus& lane) const {
    const ScopeStatus* first = nullptr;
    for (const ScopeStatus& scope : status.scopes) {
      const bool sooner = first == nullptr || scope.counts.room_again < first->counts.room_again ||
                          (scope.counts.room_again == first->counts.room_again &&
                           scope.counts.recipients > first->counts.recipients);
      if (sooner) first = &scope;
    }
    return OfWindow(first == nullptr ? ScopeReport{} : first->counts, status.controls.limits,
                    first == nullptr ? "" : Place(status, *first), lane);
  }

  std::string OfWindow(const ScopeReport& counts, const Limits& limits, absl::string_view place,
                       const LaneStatus& lane) const {
    if (limits.recipients_max == 0) {
      return absl::StrCat("the limit", place, " is 0", Since(lane), ", until the table changes");
    }
    const int64_t minutes =
        std::chrono::duration_cast<std::chrono::minutes>(limits.recipient_period).count();
    return absl::StrCat(counts.recipients, " of ", limits.recipients_max, place, " in the last ",
                        Count(static_cast<uint64_t>(minutes), "minute"), Since(lane),
                        counts.room_again == kNever
                            ? ", until what is under way has ended"
                            : absl::StrCat(", room again at ", At(counts.room_again)));
  }

  std::string Hosts(const LaneStatus& lane) const {
    if (lane.failures == 0) {  // Others are up; a short wait.
      return absl::StrCat("one has just failed", Since(lane), ", tried again at ",
                          At(lane.not_before));
    }
    return absl::StrCat("no host gave a session, ", Count(lane.failures, "time"), " in a row",
                        Since(lane), ", tried again at ", At(lane.not_before));
  }

  std::string Route(const DestinationStatus& status, const LaneStatus& lane) const {
    if (lane.failures == 0 || lane.not_before <= report_.now.instant) {
      return absl::StrCat("its hosts are being looked up", Since(lane));
    }
    return absl::StrCat("its hosts could not be looked up, ", Count(lane.failures, "time"),
                        " in a row", status.route.reason.empty() ? "" : " (", status.route.reason,
                        status.route.reason.empty() ? "" : ")", Since(lane), ", asked again at ",
                        At(lane.not_before));
  }

  const HostReport& report_;
  const absl::TimeZone zone_;
};

}  // namespace

std::string HeldBy(const HostReport& report, absl::TimeZone zone) {
  return Words(report, zone).Sentence();
}

std::string ClockText(WallTime time, WallTime now, absl::TimeZone zone) {
  const bool today = absl::ToCivilDay(ToAbsl(time), zone) == absl::ToCivilDay(ToAbsl(now), zone);
  return absl::FormatTime(today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", ToAbsl(time), zone);
}

}  // namespace sluice
