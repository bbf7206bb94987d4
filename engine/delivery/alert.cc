#include "engine/delivery/alert.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/delivery/own_mail.h"

namespace sluice::delivery {

bool AlertPace::Take(Instant now) {
  if (now >= remembered_until()) interval_ = Duration::zero();
  if (interval_ > Duration::zero() && now < next_) return false;
  interval_ = interval_ == Duration::zero() ? kFirst : std::min(2 * interval_, kLongest);
  next_ = now + interval_;
  return true;
}

std::string ComposeAlert(const AlertFacts& facts) {
  const TlsAlert& alert = *facts.alert;
  std::string out =
      OwnHeader({.hostname = facts.hostname,
                 .id = facts.alert_id,
                 .to = facts.address,
                 .subject = absl::StrCat("TLS required by ", alert.domain, " could not be had"),
                 .now = facts.now});
  AppendText(absl::StrCat("Mail to ", alert.domain, " must be sent over TLS (",
                          policy::TlsLevelLongName(alert.level), "), and a connection failed."),
             out);
  AppendText("", out);
  AppendText(absl::StrCat("  Destination: ", alert.domain), out);
  AppendText(absl::StrCat("  Host: ", alert.host), out);
  AppendText(absl::StrCat("  Level: ", policy::TlsLevelName(alert.level)), out);
  AppendText(absl::StrCat("  Reason: ", policy::TlsReasonWord(alert.reason)), out);
  if (!alert.detail.empty()) AppendText(absl::StrCat("  ", alert.detail), out);
  AppendText("", out);
  AppendText("Nothing was sent over that connection. The mail waits for its next attempt.", out);
  out += ".\r\n";
  return out;
}

}  // namespace sluice::delivery
