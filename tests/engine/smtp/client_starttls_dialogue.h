// The words for tests of STARTTLS in ClientSession: dialogues that have come so far.

#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {

inline std::string EhloReply(absl::string_view keywords) {
  std::string reply = "250-mx.example\r\n";
  for (absl::string_view keyword : absl::StrSplit(keywords, ',', absl::SkipEmpty())) {
    absl::StrAppend(&reply, "250-", keyword, "\r\n");
  }
  return absl::StrCat(reply, "250 HELP\r\n");
}

class ClientStartTlsTest : public testing::TestWithParam<Arrival> {
 protected:
  // A new session that wants TLS, up to the reply to EHLO.
  void Hears(absl::string_view keywords) {
    peer.BeginsWantingTls();
    peer.Replies("220 mx.example ESMTP\r\n");
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
    peer.Replies(EhloReply(keywords));
  }
  void AsksForTls(absl::string_view keywords = "STARTTLS") {
    Hears(keywords);
    EXPECT_EQ(peer.Sent(), "STARTTLS\r\n");
    EXPECT_THAT(peer.Seen(), testing::ElementsAre());
  }
  void BeginsHandshake(absl::string_view keywords = "STARTTLS") {
    AsksForTls(keywords);
    peer.Replies("220 go\r\n");
    EXPECT_THAT(peer.Seen(), testing::ElementsAre("start tls"));
  }
  // And the second EHLO is there.
  void SpeaksTls(absl::string_view keywords_in_clear) {
    BeginsHandshake(keywords_in_clear);
    peer.EndsHandshake();
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
  }
  // EHLO is refused and HELO is not.
  void FallsBackToHelo() {
    peer.BeginsWantingTls();
    peer.Replies("220 mx.example ESMTP\r\n");
    peer.Replies("502 5.5.1 what\r\n");
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\nHELO client.example\r\n");
    peer.Replies("250 mx.example\r\n");
  }

  TlsAnswer answer() { return peer.session().tls_answer(); }

  ClientPeer peer{GetParam()};
};

}  // namespace sluice::smtp
