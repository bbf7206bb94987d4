// When the operator is told that TLS which must be could not be had: for which levels and failures,
// what of them, and how often, whatever becomes of the destination meanwhile. The hosts do not get
// as far as a handshake, or the test plays it. Intervals are those of alert.h.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_tls_words.h"

namespace sluice::delivery {
namespace {

using policy::TlsLevel;
using policy::TlsReason;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class AlertsTest : public DispatcherTlsTest {
 protected:
  AlertsTest() {
    // A try a second, so that failures are many.
    options_.bounce_profile.initial_retry = seconds(1);
    options_.bounce_profile.max_retry = seconds(1);
  }

  // Tries it every two seconds for so long; the alerts.
  size_t AlertsDuring(Mail& mail, Duration duration) {
    size_t count = 0;
    for (const Instant end = now_.instant + duration; now_.instant < end;) {
      Pass(seconds(2));
      if (mail.home) Retry(mail);
      count += Alerts().size();
    }
    return count;
  }
};

// --- Which failures.

struct AtLevelThatRequires : AlertsTest, testing::WithParamInterface<TlsLevel> {};
INSTANTIATE_TEST_SUITE_P(Levels, AtLevelThatRequires,
                         testing::Values(TlsLevel::kRequired, TlsLevel::kRequireVerify,
                                         TlsLevel::kRequireVerifyHosted));

TEST_P(AtLevelThatRequires, AFailureIsTold) {
  StartTls(At(GetParam()));
  ExpectDeferred(Send());
  const std::vector<TlsAlert> alerts = Alerts();
  ASSERT_THAT(alerts, SizeIs(1));
  EXPECT_EQ(alerts[0].domain, kDomain);
  EXPECT_EQ(alerts[0].host, "mx1.example.com [192.0.2.1]");
  EXPECT_EQ(alerts[0].level, GetParam());
  EXPECT_EQ(alerts[0].reason, TlsReason::kNoStartTls);
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_P(AtLevelThatRequires, AFailureIsNotToldUnlessTheTableAsksForIt) {
  StartTls(At(GetParam(), /*alerts=*/false));
  ExpectDeferred(Send());
  EXPECT_THAT(Alerts(), IsEmpty());
}

struct AtAnotherLevel : AlertsTest, testing::WithParamInterface<TlsLevel> {};
INSTANTIATE_TEST_SUITE_P(Levels, AtAnotherLevel,
                         testing::Values(TlsLevel::kOff, TlsLevel::kOn, TlsLevel::kOnVerify));

TEST_P(AtAnotherLevel, NothingIsTold) {
  StartTls(At(GetParam()));
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_THAT(Alerts(), IsEmpty());
}

// After the 220 levels that prefer TLS cannot go on either, and yet nothing was required.
TEST_P(AtAnotherLevel, NothingIsToldOfABrokenHandshake) {
  Offers();
  host().closes_after = "STARTTLS";
  StartTls(At(GetParam()));
  Mail& mail = Send();
  FlightsNeedMore();
  EXPECT_EQ(mail.Verdicts(), GetParam() == TlsLevel::kOff ? "D" : "d");
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_F(AlertsTest, AreNotOfHostsThatFailOtherwise) {
  StartTls(At(TlsLevel::kRequired));
  host().refuses_with = ECONNREFUSED;
  ExpectDeferred(Send());
  host().refuses_with = 0;
  host().answers["greeting"] = "421 4.3.2 busy";
  Pass(minutes(2));
  ExpectDeferred(Send());
  host().answers["greeting"] = "220 mx";
  host().closes_after = "EHLO";
  host().closes_unanswered = true;
  Pass(minutes(2));
  ExpectDeferred(Send());
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_F(AlertsTest, HaveTheReasonAndWhatTheHostSaid) {
  Offers(kFirst, "454 4.7.0 TLS is out of order today");
  StartTls(At(TlsLevel::kRequired));
  Send();
  std::vector<TlsAlert> alerts = Alerts();
  ASSERT_THAT(alerts, SizeIs(1));
  EXPECT_EQ(alerts[0].reason, TlsReason::kStartTlsRefused);
  EXPECT_THAT(alerts[0].detail, HasSubstr("TLS is out of order today"));
}

TEST_F(AlertsTest, AreOfHandshakesToo) {
  Offers();
  host().closes_after = "STARTTLS";
  StartTls(At(TlsLevel::kRequired));
  Send();
  FlightsNeedMore();
  const std::vector<TlsAlert> alerts = Alerts();
  ASSERT_THAT(alerts, SizeIs(1));
  EXPECT_EQ(alerts[0].reason, TlsReason::kHandshake);
}

// --- How often.

TEST_F(AlertsTest, ComeAtGrowingIntervalsHoweverManyFail) {
  StartTls(At(TlsLevel::kRequired));
  Mail& mail = Send();
  EXPECT_EQ(Alerts().size(), 1u);
  EXPECT_EQ(AlertsDuring(mail, seconds(290)), 0u);
  EXPECT_EQ(AlertsDuring(mail, seconds(20)), 1u);   // At 300 s.
  EXPECT_EQ(AlertsDuring(mail, seconds(580)), 0u);  // Until 890 s.
  EXPECT_EQ(AlertsDuring(mail, seconds(30)), 1u);   // At 900 s.
  EXPECT_GT(Connects(), 400u);
}

TEST_F(AlertsTest, AreOfADestinationAndNotOfEachHostOrMessage) {
  UseTwoHosts();
  StartTls(At(TlsLevel::kRequired));
  SendSome(20);
  Pass(seconds(20));
  EXPECT_GT(Connects(kFirst), 0u);
  EXPECT_GT(Connects(kSecond), 0u);
  EXPECT_THAT(Alerts(), SizeIs(1));
}

TEST_F(AlertsTest, ArePacedForADestinationWithoutMailToo) {
  StartTls(At(TlsLevel::kRequired));
  Mail& mail = Send();
  EXPECT_THAT(Alerts(), SizeIs(1));
  ASSERT_TRUE(mail.home);
  Pass(seconds(299));
  EXPECT_EQ(dispatcher_->destinations(), 1u);
  Retry(mail);
  EXPECT_THAT(Alerts(), IsEmpty());
  Pass(seconds(2));
  Retry(mail);
  EXPECT_THAT(Alerts(), SizeIs(1));
  Pass(seconds(590));
  Retry(mail);
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_F(AlertsTest, AreForgottenWithTheDestinationOneDay) {
  StartTls(At(TlsLevel::kRequired));
  Mail& mail = Send();
  EXPECT_THAT(Alerts(), SizeIs(1));
  Pass(seconds(300) + hours(1) - seconds(1));
  EXPECT_EQ(dispatcher_->destinations(), 1u);
  Pass(seconds(2));
  EXPECT_EQ(dispatcher_->destinations(), 0u);
  Retry(mail);
  EXPECT_THAT(Alerts(), SizeIs(1));
}

TEST_F(AlertsTest, BeginAnewAfterASessionThatWorked) {
  StartTls(At(TlsLevel::kRequired));
  Mail& mail = Send();
  EXPECT_EQ(Alerts().size() + AlertsDuring(mail, seconds(910)), 3u);  // At 0, 300 and 900 s.
  Pass(seconds(1200));
  ReloadTls(At(TlsLevel::kOff));
  EXPECT_EQ(Send().Verdicts(), "D");
  ReloadTls(At(TlsLevel::kRequired));
  EXPECT_EQ(AlertsDuring(mail, seconds(290)), 1u);  // Of 300 s again.
  EXPECT_EQ(AlertsDuring(mail, seconds(20)), 1u);
}

TEST_F(AlertsTest, DoNotHoldUpTheEnd) {
  StartTls(At(TlsLevel::kRequired));
  Send();
  EXPECT_EQ(dispatcher_->destinations(), 1u);
  dispatcher_->BeginDrain(now_);
  Turn();
  EXPECT_TRUE(dispatcher_->AtRest());
  EXPECT_THAT(Alerts(), SizeIs(1));
}

}  // namespace
}  // namespace sluice::delivery
