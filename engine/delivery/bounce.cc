#include "engine/delivery/bounce.h"

#include "absl/strings/str_cat.h"
#include "engine/delivery/own_mail.h"

namespace sluice::delivery {
namespace {

// Replies are quoted up to this much text in all; every address is named.
constexpr size_t kQuotingBytesMax = 64 << 10;

void AppendFailure(const FailedRecipient& failed, std::string& out) {
  AppendText(absl::StrCat("<", failed.address, ">"), out);
  if (failed.expired) AppendText("  was tried until its time was up.", out);
  const bool quotes = out.size() < kQuotingBytesMax;
  if (quotes && failed.reply != nullptr && failed.reply->code != 0) {
    const std::string where =
        failed.peer_name.empty()
            ? std::string("  The last answer was:")
            : absl::StrCat("  ", failed.peer_name, " answered to ",
                           failed.command.empty() ? "us" : failed.command, ":");
    AppendText(where, out);
    AppendText(absl::StrCat("  ", failed.reply->ToString()), out);
  }
  AppendText("", out);
}

}  // namespace

std::string ComposeBounce(const BounceFacts& facts) {
  std::string out = OwnHeader({.hostname = facts.hostname,
                               .id = facts.bounce_id,
                               .to = facts.sender,
                               .subject = "Undelivered mail returned to sender",
                               .now = facts.now});
  AppendText(absl::StrCat("This is the mail system at ", facts.hostname, "."), out);
  AppendText("", out);
  AppendText(absl::StrCat("Your message ", facts.message_id, " could not be delivered to:"), out);
  AppendText("", out);
  for (const FailedRecipient& failed : facts.failed) AppendFailure(failed, out);
  out += ".\r\n";
  return out;
}

}  // namespace sluice::delivery
