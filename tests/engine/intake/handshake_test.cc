// Injectors that do not come to the end of a handshake: how long and how much we bear. Time is the
// test's; the flights' results are, too. The bounds are intake.h's: 30 s for a handshake, and 64 KB
// while one of its flights is being worked on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/delivery/held_handshaker.h"
#include "tests/engine/intake/intake_words.h"
#include "tls/demo_certificate.h"

namespace sluice::intake {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::SizeIs;
using testing::StartsWith;

class HandshakeTest : public IntakeTest {
 protected:
  void StartTls() {
    options_.listeners[0].certificate = "ours";
    log_ = std::make_unique<spool::Log>(spool::Log::Options{}, disk_,
                                        std::vector<spool::Log::LiveSegment>{}, 1);
    ASSERT_TRUE(log_->Begin(now_.wall).ok());
    home_ = std::make_unique<delivery::Home>(home_options_, io_, *log_, timers_, random_, events_);
    intake_ = std::make_unique<Intake>(options_, io_, *home_, timers_, &handshaker_);
    intake_->UseTls(Load());
    intake_->Start(now_);
    Turn();
  }

  std::shared_ptr<const tls::Environment> Load() {
    const tls::DemoCertificate made = *tls::MakeDemoCertificate(kHostname, now_.wall);
    const std::string path = absl::StrCat(testing::TempDir(), "ours-", getpid());
    std::ofstream(path + ".pem") << made.certificate_pem;
    std::ofstream(path + ".key") << made.key_pem;
    tls::Environment::Loaded loaded = tls::Environment::Load(
        {.hostname = std::string(kHostname),
         .certificates = {{.name = "ours", .certificate = path + ".pem", .key = path + ".key"}},
         .listener_certificates = {"ours"}},
        {}, now_.wall);
    for (const absl::string_view ending : {".pem", ".key"}) {
      std::remove(absl::StrCat(path, ending).c_str());
    }
    EXPECT_TRUE(loaded.errors.empty());
    return loaded.environment;
  }

  // A client that was told to go ahead.
  int DialAndBegin() {
    const int client = DialAndGreet();
    Says(client, "STARTTLS\r\n");
    EXPECT_THAT(Heard(client), StartsWith("220 "));
    return client;
  }
  // The flights that were submitted come back and need more.
  void FlightsNeedMore() {
    for (auto& job : std::exchange(handshaker_.jobs, {})) {
      job->input.clear();
      intake_->OnHandshake(std::move(job), now_);
    }
    Turn();
  }

  delivery::HeldHandshaker handshaker_;
};

TEST_F(HandshakeTest, OfAByteASecondEndsAfterThirtySeconds) {
  StartTls();
  const int client = DialAndBegin();
  for (int second = 1; second < 30; ++second) {
    Pass(seconds(1));
    Says(client, "\x16");
    ASSERT_THAT(handshaker_.jobs, SizeIs(1));
    FlightsNeedMore();
  }
  Pass(seconds(1) - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  Pass(kInstantLater);
  EXPECT_EQ(Heard(client), "");  // Nothing in clear.
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

TEST_F(HandshakeTest, OfSilenceEndsAfterThirtySecondsAndHoldsUpNobody) {
  StartTls();
  const int client = DialAndBegin();
  Pass(seconds(30) - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  const int other = DialAndGreet();
  Says(other, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  EXPECT_EQ(Codes(other), "250 250 354 250");
  Pass(kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
  EXPECT_FALSE(io_.Closed(other));
}

TEST_F(HandshakeTest, ThatIsBeingWorkedOnEndsInTimeTooAndItsFlightComesBackToNobody) {
  StartTls();
  const int client = DialAndBegin();
  Says(client, "\x16");
  Pass(seconds(30) + kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
  FlightsNeedMore();
  ExpectNothingLeft();
}

TEST_F(HandshakeTest, KeepsSoMuchWhileAFlightIsWorkedOn) {
  StartTls();
  const int client = DialAndBegin();
  Says(client, "\x16");
  ASSERT_THAT(handshaker_.jobs, SizeIs(1));
  const std::string piece(16 << 10, 'x');
  for (int i = 0; i < 4; ++i) Says(client, piece);
  EXPECT_FALSE(io_.Closed(client));
  Says(client, "x");
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

TEST_F(HandshakeTest, ThatFindsNoRoomEnds) {
  StartTls();
  const int client = DialAndBegin();
  handshaker_.full = true;
  Says(client, "\x16");
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

TEST_F(HandshakeTest, EndsWithItsClient) {
  StartTls();
  const int client = DialAndBegin();
  HangsUp(client);
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

}  // namespace
}  // namespace sluice::intake
