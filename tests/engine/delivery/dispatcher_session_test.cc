// Which TLS sessions of a host are kept for resuming, and what ends them: a host that fails when
// one is to be resumed, one whose certificate is refused, one that breaks the session off. Streams
// are the test's: they are what it says.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "tests/engine/delivery/dispatcher_tls_words.h"

namespace sluice::delivery {
namespace {

using policy::TlsLevel;

std::unique_ptr<tls::Session> ASession() {
  return std::make_unique<tls::Session>("a session", std::chrono::hours(2));
}

// Established; what it opens, and how that ends, is set before.
class SaidStream : public tls::Stream {
 public:
  void Feed(absl::string_view) override {}
  tls::Step Handshake() override { return tls::Step::kEstablished; }
  bool Seal(absl::string_view) override { return true; }
  Opened Open(std::string& plaintext) override {
    plaintext += std::exchange(opens, "");
    return ends;
  }
  void Close() override {}
  std::unique_ptr<tls::Session> TakeSession() override { return std::move(ticket); }

  std::string opens;
  Opened ends = Opened::kNeedsInput;
  std::unique_ptr<tls::Session> ticket;
};

class SessionTest : public DispatcherTlsTest {
 protected:
  void SetUp() override {
    DispatcherTlsTest::SetUp();
    Offers();
  }

  // Two of the host that the waiting flight is for, and one of another.
  void KeepThree() {
    const std::string key = handshaker_.jobs[0]->plan->session_key;
    Keep(key);
    Keep(key);
    Keep("another host's");
  }
  void Keep(const std::string& key) {
    handshaker_.sessions().Put(key, ASession(), Good(), now_.wall);
  }
  size_t kept() { return handshaker_.sessions().size(); }

  void FlightFails(bool offered_session) {
    auto job = TakeJob();
    job->step = tls::Step::kFailed;
    job->timed_out = true;
    job->offered_session = offered_session;
    Return(std::move(job));
  }
  SaidStream& FlightEstablishes(const tls::Verdict& verdict) {
    auto job = TakeJob();
    auto stream = std::make_unique<SaidStream>();
    SaidStream& said = *stream;
    job->stream = std::move(stream);
    job->step = tls::Step::kEstablished;
    job->verdict = verdict;
    Return(std::move(job));
    return said;
  }
  tls::Verdict Good() const {
    return {.fault = tls::CertificateFault::kNone,
            .name = tls::NameKind::kDomain,
            .valid_until = now_.wall + std::chrono::hours(1000)};
  }
  tls::Verdict Bad() const {
    return {.fault = tls::CertificateFault::kExpired,
            .valid_until = now_.wall + std::chrono::hours(1000)};
  }
};

TEST_F(SessionTest, IsKeptWhenItsTicketComes) {
  StartTls(At(TlsLevel::kRequired));
  Send();
  const std::string key = handshaker_.jobs[0]->plan->session_key;
  SaidStream& stream = FlightEstablishes(Good());
  for (int i = 0; i < 10; ++i) HostSays("a piece of a record");
  EXPECT_EQ(kept(), 0u);
  stream.ticket = ASession();
  HostSays("the last piece");
  EXPECT_EQ(kept(), 1u);
  const tls::CachedSession taken = handshaker_.sessions().Take(key, now_.wall);
  ASSERT_NE(taken.session, nullptr);
  EXPECT_EQ(taken.verdict.Finding(), Good().Finding());
}

TEST_F(SessionTest, ThatFailsToBeResumedEndsAllOfTheHost) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  KeepThree();
  FlightFails(/*offered_session=*/true);
  EXPECT_EQ(kept(), 1u);
  EXPECT_FALSE(mail.home);
  ASSERT_EQ(handshaker_.jobs.size(), 1u);  // Anew.
  EXPECT_FALSE(handshaker_.jobs[0]->plan->resumes);
}

TEST_F(SessionTest, OfAHostThatFailsAFullHandshakeIsKept) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  KeepThree();
  FlightFails(/*offered_session=*/false);
  EXPECT_EQ(kept(), 3u);
  ExpectDeferred(mail);
}

TEST_F(SessionTest, EndsWhenTheCertificateIsRefused) {
  StartTls(At(TlsLevel::kRequireVerify));
  const Mail& mail = Send();
  KeepThree();
  FlightEstablishes(Bad());
  EXPECT_EQ(kept(), 1u);
  ExpectDeferred(mail);
}

// A ticket, and an alert in the same bytes: RFC 8446 6.2.
TEST_F(SessionTest, ThatFailsIsNotKept) {
  StartTls(At(TlsLevel::kRequired));
  const Mail& mail = Send();
  SaidStream& stream = FlightEstablishes(Good());
  stream.ticket = ASession();
  stream.ends = tls::Stream::Opened::kFailed;
  HostSays("a ticket and an alert");
  EXPECT_EQ(kept(), 0u);
  ExpectDeferred(mail);
}

}  // namespace
}  // namespace sluice::delivery
