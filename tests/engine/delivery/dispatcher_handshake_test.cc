// Hosts that do not come to the end of a handshake: how long and how much we bear, whose fault it
// is, and what the mail is told. Time is the test's; the flights' results are, too. The bounds are
// 30 s for a handshake, and 256 KB while one of its flights is being worked on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_tls_words.h"

namespace sluice::delivery {
namespace {

using policy::TlsLevel;
using policy::TlsReason;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Duration kHandshakeTime = seconds(30);

class HandshakeTest : public DispatcherTlsTest {
 protected:
  HandshakeTest() { Offers(); }

  // Nothing of it in clear, and it is told why.
  void ExpectFailed(const Mail& mail, TlsReason reason) {
    ExpectDeferred(mail);
    EXPECT_EQ(mail.parcel.tls.decision.reason, reason);
    const std::string word = "TLS " + std::string(policy::TlsReasonWord(reason));
    EXPECT_THAT(mail.parcel.reply.text, HasSubstr(word));
    EXPECT_EQ(network_.CountHeardByAll("MAIL"), 0u);
  }
};

TEST_F(HandshakeTest, OfAByteASecondEndsAfterThirtySeconds) {
  StartTls(At(TlsLevel::kOn));
  const Mail& mail = Send();
  FlightsNeedMore();
  for (int second = 1; second < 30; ++second) {
    Pass(seconds(1));
    HostSays("\x16");
    ASSERT_THAT(handshaker_.jobs, SizeIs(1));
    EXPECT_EQ(handshaker_.jobs[0]->input, "\x16");
    FlightsNeedMore();
  }
  Pass(seconds(1) - kTick);
  EXPECT_FALSE(mail.home);
  Pass(2 * kTick);
  ExpectFailed(mail, TlsReason::kTimeout);
  EXPECT_EQ(network_.open(), 0u);
}

TEST_F(HandshakeTest, OfSilenceEndsAfterThirtySeconds) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  FlightsNeedMore();
  Pass(kHandshakeTime - kTick);
  EXPECT_FALSE(mail.home);
  Pass(2 * kTick);
  ExpectFailed(mail, TlsReason::kTimeout);
  const std::vector<TlsAlert> alerts = Alerts();
  ASSERT_THAT(alerts, SizeIs(1));
  EXPECT_EQ(alerts[0].reason, TlsReason::kTimeout);
}

TEST_F(HandshakeTest, LeavesTheMailToTheNextAddress) {
  UseTwoHosts();
  StartTls(At(TlsLevel::kOn));
  const Mail& mail = Send();
  FlightsNeedMore();
  Pass(kHandshakeTime + kTick);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_name, "mx2.example.com");
  EXPECT_EQ(network_.CountHeard(network_.To(kFirst)[0], "MAIL"), 0u);
}

TEST_F(HandshakeTest, ThatWeHaveNotWorkedOnInTimeIsNoFaultOfTheHost) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  ASSERT_THAT(handshaker_.jobs, SizeIs(1));  // And stays there.
  Pass(kHandshakeTime + kTick);
  EXPECT_EQ(network_.open(), 0u);
  EXPECT_EQ(mail.Verdicts(), "-");
  EXPECT_FALSE(mail.home);
  EXPECT_THAT(Alerts(), IsEmpty());
  Pass(seconds(1) + kTick);
  EXPECT_EQ(Connects(), 2u);
  EXPECT_THAT(handshaker_.jobs, SizeIs(2));

  // The first comes back after its connection: nobody takes it for the second's.
  std::unique_ptr<tls::HandshakeJob> late = std::move(handshaker_.jobs.front());
  handshaker_.jobs.pop_front();
  late->step = tls::Step::kFailed;
  dispatcher_->OnHandshake(std::move(late), now_);
  Turn();
  EXPECT_EQ(network_.open(), 1u);
  EXPECT_EQ(mail.Verdicts(), "-");
}

TEST_F(HandshakeTest, ThatFindsNoRoomIsNoFaultOfTheHost) {
  handshaker_.full = true;
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  EXPECT_EQ(network_.open(), 0u);
  EXPECT_EQ(mail.Verdicts(), "-");
  handshaker_.full = false;
  Pass(seconds(1) + kTick);
  EXPECT_EQ(Connects(), 2u);
  EXPECT_THAT(handshaker_.jobs, SizeIs(1));
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_F(HandshakeTest, KeepsSoMuchWhileAFlightIsWorkedOn) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  const std::string piece(16 << 10, 'x');
  for (int i = 0; i < 16; ++i) HostSays(piece);
  EXPECT_FALSE(mail.home);
  EXPECT_EQ(network_.open(), 1u);
  HostSays("x");
  ExpectFailed(mail, TlsReason::kHandshake);
  EXPECT_THAT(mail.parcel.reply.text, HasSubstr("too much"));
  EXPECT_EQ(network_.open(), 0u);
}

TEST_F(HandshakeTest, EndsWhereTheHostHasClosed) {
  StartTls(At(TlsLevel::kOn));
  const Mail& mail = Send();
  network_.FinishesSending(network_.To(kFirst).back());
  Turn();
  EXPECT_FALSE(mail.home);  // What came before may say why: it is being worked on.
  FlightsNeedMore();
  ExpectFailed(mail, TlsReason::kHandshake);
}

// An idle session holds a connection, and no handshake: to end it would help nobody.
TEST_F(HandshakeTest, ThatTheEngineMayNotMakeEndsNoIdleSession) {
  EngineCaps caps(10, 1);
  options_.caps = &caps;
  host().answers["EHLO"] = "250-mx.example.com\r\n250 PIPELINING";
  resolver_.Says("example.net", RouteTo({kFirst}));
  StartTls(At(TlsLevel::kOn));
  Send();  // In clear, since STARTTLS is not offered.
  EXPECT_EQ(network_.open(), 1u);
  EXPECT_TRUE(caps.handshakes.Take());  // Another shard's.
  Mail& other = Make();
  other.message.envelope.recipients[0].destination = "example.net";
  Queue(other);
  Turn();
  EXPECT_EQ(dispatcher_->FindDestination("example.net")->lanes.Front()->binding,
            "engine_handshakes");
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 0u);
  caps.handshakes.Give();
  Pass(seconds(1) + kTick);
  EXPECT_TRUE(other.home);
  TearDown();
  dispatcher_.reset();
}

}  // namespace
}  // namespace sluice::delivery
