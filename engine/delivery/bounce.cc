#include "engine/delivery/bounce.h"

#include "absl/strings/str_cat.h"
#include "engine/smtp/trace.h"

namespace sluice::delivery {
namespace {

constexpr size_t kLineBytesMax = 76;

// Replies are quoted up to this much text in all; every address is named.
constexpr size_t kQuotingBytesMax = 64 << 10;

// Appends one line of text as wire lines: printable ASCII only, folded by indented lines, so that
// no line but the last of all begins with a dot and nothing needs stuffing.
void AppendText(absl::string_view text, std::string& out) {
  absl::string_view indent = "";
  do {
    absl::string_view line = text.substr(0, kLineBytesMax);
    text.remove_prefix(line.size());
    out.append(indent.data(), indent.size());
    for (const char c : line) out += (c >= ' ' && c <= '~') ? c : '?';
    out += "\r\n";
    indent = "    ";
  } while (!text.empty());
}

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
  std::string out =
      absl::StrCat("From: Mail Delivery System <MAILER-DAEMON@", facts.hostname, ">\r\n", "To: <",
                   facts.sender, ">\r\n", "Subject: Undelivered mail returned to sender\r\n",
                   "Date: ", smtp::MailDate(facts.now), "\r\n", "Message-ID: <", facts.bounce_id,
                   "@", facts.hostname, ">\r\n");
  absl::StrAppend(&out,
                  "Auto-Submitted: auto-replied\r\n"
                  "MIME-Version: 1.0\r\n"
                  "Content-Type: text/plain; charset=us-ascii\r\n"
                  "\r\n");
  AppendText(absl::StrCat("This is the mail system at ", facts.hostname, "."), out);
  AppendText("", out);
  AppendText(absl::StrCat("Your message ", facts.message_id, " could not be delivered to:"), out);
  AppendText("", out);
  for (const FailedRecipient& failed : facts.failed) AppendFailure(failed, out);
  out += ".\r\n";
  return out;
}

}  // namespace sluice::delivery
