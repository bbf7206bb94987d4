// The DSN parameters of RFC 3461 on their way to the next hop: unchanged where it offers DSN,
// absent where it does not. A session is driven by hand; the expected commands are RFC 3461's
// section 4 and 5.

#include <array>

#include "engine/smtp/client_session.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

class ClientDsn : public testing::Test {
 protected:
  // All that the session sends for one message after this EHLO reply.
  std::string CommandsAfter(absl::string_view ehlo_reply) {
    ClientSession session;
    const Now now{};
    session.Begin({.ehlo_name = "client.example"}, now);
    Answer(session, "220 mx.example ESMTP\r\n");
    Answer(session, ehlo_reply);
    const std::array<const EnvelopeRecipient*, 2> recipients = {&first_, &second_};
    session.ClearOutput();
    session.Offer({.sender = "a@x",
                   .recipients = recipients,
                   .body_bytes = 100,
                   .ret = Return::kHeaders,
                   .envelope_id = "QQ314159+3D"},
                  now);
    while (session.Next() != ClientAction::kNone) {
    }
    const std::string commands(session.output());
    session.Abort();
    while (session.Next() != ClientAction::kNone) {
    }
    return commands;
  }

  EnvelopeRecipient first_{.address = "b@y",
                           .original_recipient = "rfc822;Bob+2Bx@y.example",
                           .notify = kNotifySuccess | kNotifyDelay};
  EnvelopeRecipient second_{.address = "c@y", .notify = kNotifyNever};

 private:
  static void Answer(ClientSession& session, absl::string_view reply) {
    session.OnBytes(reply, Now{});
    while (session.Next() != ClientAction::kNone) {
    }
  }
};

TEST_F(ClientDsn, IsPassedOnUnchangedWhereItIsOffered) {
  EXPECT_EQ(CommandsAfter("250-mx.example\r\n250-PIPELINING\r\n250 DSN\r\n"),
            "MAIL FROM:<a@x> RET=HDRS ENVID=QQ314159+3D\r\n"
            "RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@y.example\r\n"
            "RCPT TO:<c@y> NOTIFY=NEVER\r\n"
            "DATA\r\n");
}

TEST_F(ClientDsn, IsLeftOutWhereItIsNotOffered) {
  EXPECT_EQ(CommandsAfter("250-mx.example\r\n250 PIPELINING\r\n"),
            "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n");
}

}  // namespace
}  // namespace sluice::smtp
