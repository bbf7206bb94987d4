// Case F21: a client that may not relay, and sixty ways to ask for it. None is accepted, whatever
// the form of the address; and the same client with leave to relay shows which of them are
// addresses.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_dialogue.h"

namespace sluice::smtp {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::string_view kForms[] = {
    // Plain.
    "<v@victim.example>",
    "<V@VICTIM.EXAMPLE>",
    "<v@victim.example.>",
    "<v@sub.victim.example>",
    "<v+tag@victim.example>",
    "<v@localhost>",
    "<v@mx.example.net>",
    "<v@MX.EXAMPLE.NET>",
    "<postmaster>",
    "<Postmaster>",
    "<postmaster@victim.example>",
    "<abuse@victim.example>",
    // The %-hack.
    "<v%victim.example@mx.example.net>",
    "<v%victim.example>",
    "<v%victim.example@localhost>",
    "<v%victim.example@[127.0.0.1]>",
    "<v%a.example%victim.example@mx.example.net>",
    "<v%victim.example@>",
    "<\"v%victim.example\"@mx.example.net>",
    // Bang paths.
    "<victim.example!v@mx.example.net>",
    "<victim.example!v>",
    "<mx.example.net!victim.example!v>",
    "<victim.example!v@localhost>",
    "<\"victim.example!v\"@mx.example.net>",
    // Source routes.
    "<@mx.example.net:v@victim.example>",
    "<@mx.example.net,@a.example:v@victim.example>",
    "<@[127.0.0.1]:v@victim.example>",
    "<@localhost:v@victim.example>",
    "<@victim.example:v@mx.example.net>",
    "<@mx.example.net:postmaster>",
    "<@:v@victim.example>",
    // Quoted local parts.
    "<\"v@victim.example\"@mx.example.net>",
    "<\"v@victim.example\">",
    "<\"v\"@victim.example>",
    "<\"v\\@victim.example\"@mx.example.net>",
    "<\"\"@victim.example>",
    "<\"v@victim.example\"@[127.0.0.1]>",
    "<\"v>\"@victim.example>",
    // Address literals.
    "<v@[127.0.0.1]>",
    "<v@[192.0.2.1]>",
    "<v@[IPv6:::1]>",
    "<v@[IPv6:::ffff:127.0.0.1]>",
    "<v@[IPv6:2001:db8::1]>",
    "<v@127.0.0.1>",
    "<v%victim.example@[IPv6:::1]>",
    // Several at signs, and none.
    "<v@victim.example@mx.example.net>",
    "<v@mx.example.net@victim.example>",
    "<v>",
    "<v@>",
    "<@victim.example>",
    "<v@@victim.example>",
    // Brackets, spaces and names.
    "v@victim.example",
    "<<v@victim.example>>",
    "< v@victim.example >",
    " <v@victim.example>",
    "V <v@victim.example>",
    "<v@victim.example",
    "<v@victim.example>,<w@victim.example>",
    "<v@victim.example> NOTIFY=NEVER",
    "<>",
};
static_assert(std::size(kForms) == 60);

TEST(ServerRelay, AcceptsNoFormFromAClientThatMayNot) {
  ServerSession::Options stranger = LocalClient();
  stranger.may_relay = false;
  for (const absl::string_view form : kForms) {
    const Transcript transcript = ServerDialogue(stranger).Talk(
        absl::StrCat("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:", form, "\r\nDATA\r\nspam\r\n.\r\n"));
    EXPECT_THAT(transcript.said, HasSubstr("\r\n550 5.7.1 Relaying denied\r\n554 5.5.1 ")) << form;
    EXPECT_THAT(transcript.said, Not(HasSubstr("\r\n354"))) << form;
    EXPECT_TRUE(transcript.accepted.empty()) << form;
    EXPECT_TRUE(transcript.asked.empty()) << form;
  }
}

TEST(ServerRelay, ClosesOnAClientThatKeepsTrying) {
  ServerSession::Options stranger = LocalClient();
  stranger.may_relay = false;
  std::string attempts = "EHLO c\r\nMAIL FROM:<>\r\n";
  for (const absl::string_view form : kForms) absl::StrAppend(&attempts, "RCPT TO:", form, "\r\n");
  const Transcript transcript = ServerDialogue(stranger).Talk(attempts);
  EXPECT_TRUE(transcript.closed);
  EXPECT_THAT(transcript.said, EndsWith("421 4.7.0 mx.example.net Too many bad commands\r\n"));
}

// With leave to relay, the local part never decides where the mail goes.
TEST(ServerRelay, SendsEachFormToTheDomainAfterTheLastAt) {
  const struct {
    absl::string_view form;
    absl::string_view address;
    absl::string_view destination;
  } kCases[] = {
      {"<v%victim.example@mx.example.net>", "v%victim.example@mx.example.net", "mx.example.net"},
      {"<victim.example!v@mx.example.net>", "victim.example!v@mx.example.net", "mx.example.net"},
      {"<\"v@victim.example\"@mx.example.net>", "\"v@victim.example\"@mx.example.net",
       "mx.example.net"},
      {"<@mx.example.net:v@Victim.Example>", "v@Victim.Example", "victim.example"},
      {"<v@[192.0.2.1]>", "v@[192.0.2.1]", "[192.0.2.1]"},
  };
  for (const auto& [form, address, destination] : kCases) {
    const Transcript transcript = ServerDialogue().Talk(
        absl::StrCat("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:", form, "\r\nDATA\r\n.\r\n"));
    ASSERT_EQ(transcript.accepted.size(), 1u) << form;
    EXPECT_EQ(transcript.accepted[0].envelope.recipients[0].address, address);
    EXPECT_EQ(transcript.accepted[0].envelope.recipients[0].destination, destination);
  }
}

}  // namespace
}  // namespace sluice::smtp
