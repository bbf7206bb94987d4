#include "engine/delivery/own_mail.h"

#include "absl/strings/str_cat.h"
#include "engine/smtp/trace.h"

namespace sluice::delivery {
namespace {

constexpr size_t kLineBytesMax = 76;

}  // namespace

std::string OwnHeader(const OwnHeaderFacts& facts) {
  return absl::StrCat("From: Mail Delivery System <MAILER-DAEMON@", facts.hostname, ">\r\n",
                      "To: <", facts.to, ">\r\n", "Subject: ", facts.subject, "\r\n",
                      "Date: ", smtp::MailDate(facts.now), "\r\n", "Message-ID: <", facts.id, "@",
                      facts.hostname, ">\r\n",
                      "Auto-Submitted: auto-replied\r\n"
                      "MIME-Version: 1.0\r\n"
                      "Content-Type: text/plain; charset=us-ascii\r\n"
                      "\r\n");
}

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

}  // namespace sluice::delivery
