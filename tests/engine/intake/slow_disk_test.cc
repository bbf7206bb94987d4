// Clients that send faster than the disk takes: they are held back, at a bound of memory that is
// theirs and one that is all large messages', and nobody is refused for it. The disk is as late as
// the test wants.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/intake/intake_words.h"

namespace sluice::intake {
namespace {

using std::chrono::minutes;

constexpr size_t kMiB = 1 << 20;
constexpr size_t kPieceBytes = limits::kBodyBlocksBeforeLog * limits::kBodyBlockBytes;

class SlowDisk : public IntakeTest {
 protected:
  SlowDisk() {
    options_.listeners[0].message_bytes_max = 64 * kMiB;
    home_options_.body_blocks = 64 * kMiB / limits::kBodyBlockBytes;
  }

  int StartMessage() {
    const int client = DialAndGreet();
    Says(client, kEnvelope);
    EXPECT_EQ(Codes(client), "250 250 354");
    return client;
  }
  // Lines, for as long as they are taken from it. Returns how many bytes were.
  uint64_t SendsWhatIsTaken(int client, uint64_t bytes_max) {
    static const std::string lines = [] {
      std::string text;
      while (text.size() < kReceivedBytes) text += std::string(62, 'x') + "\r\n";
      return text;
    }();
    uint64_t sent = 0;
    for (; sent < bytes_max && io_.Receiving(client); sent += lines.size()) Says(client, lines);
    return sent;
  }
  uint64_t BytesTaken() const { return home_->blocks_taken() * limits::kBodyBlockBytes; }

  static constexpr size_t kReceivedBytes = 16 << 10;
};

TEST_F(SlowDisk, HoldsAClientBackWhenItHasTwoMiBToSync) {
  Start();
  const int client = StartMessage();
  io_.HoldDisk();
  uint64_t sent = SendsWhatIsTaken(client, 32 * kMiB);
  EXPECT_FALSE(io_.Receiving(client));
  EXPECT_GE(sent, 2 * kMiB);
  EXPECT_LE(sent, 2 * kMiB + kPieceBytes + limits::kPausedInputBytesMax + 2 * kReceivedBytes);
  EXPECT_GE(BytesTaken(), 2 * kMiB);
  EXPECT_LE(BytesTaken(), 2 * kMiB + kPieceBytes);

  io_.ReleaseDisk();
  Turn();
  EXPECT_TRUE(io_.Receiving(client));
  sent += SendsWhatIsTaken(client, 8 * kMiB);
  Says(client, ".\r\n");
  EXPECT_EQ(Codes(client), "250");
  EXPECT_EQ(home_->blocks_taken(), 0u);
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_GE(messages_[0]->wire_bytes, sent + 3);
}

// Each has a little, and together they have half of the memory: then each waits for its own sync.
TEST_F(SlowDisk, HoldsAllBackWhenHalfOfTheMemoryIsTaken) {
  Start();
  std::vector<int> clients;
  for (int i = 0; i < 80; ++i) clients.push_back(StartMessage());
  io_.HoldDisk();
  uint64_t sent = 0;
  for (int round = 0; round < 200; ++round) {
    for (const int client : clients) sent += SendsWhatIsTaken(client, kReceivedBytes);
  }
  for (const int client : clients) EXPECT_FALSE(io_.Receiving(client));
  // Half of 64 MiB, and what each may hold before the log has any of it.
  EXPECT_GE(sent, 32 * kMiB);
  EXPECT_LE(BytesTaken(), 32 * kMiB + clients.size() * kPieceBytes);

  io_.ReleaseDisk();
  Turn();
  for (const int client : clients) {
    EXPECT_TRUE(io_.Receiving(client));
    Says(client, ".\r\n");
    EXPECT_EQ(Codes(client), "250");
  }
}

// Who has nothing in the log has nothing to wait for.
TEST_F(SlowDisk, DoesNotHoldBackASmallMessage) {
  Start();
  const int large = StartMessage();
  const int small = StartMessage();
  io_.HoldDisk();
  SendsWhatIsTaken(large, 32 * kMiB);
  ASSERT_FALSE(io_.Receiving(large));
  Says(small, absl::StrCat(kContent, ".\r\n"));
  EXPECT_TRUE(io_.Receiving(small));
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(small), "250");
}

// It is not the client that is slow then.
TEST_F(SlowDisk, DoesNotCutOffWhoIsHeldBack) {
  Start();
  const int client = StartMessage();
  io_.HoldDisk();
  SendsWhatIsTaken(client, 32 * kMiB);
  for (int i = 0; i < 4; ++i) Pass(kDataWindow + kInstantLater);
  EXPECT_FALSE(io_.Closed(client));
  io_.ReleaseDisk();
  Turn();
  Pass(kDataWindow + kInstantLater);  // A whole one from now on, but for what had come.
  Pass(kDataWindow + kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
}

TEST_F(SlowDisk, FindsNothingLeftOfWhoLeavesMeanwhile) {
  Start();
  const int client = StartMessage();
  io_.HoldDisk();
  SendsWhatIsTaken(client, 32 * kMiB);
  io_.Resets(client);
  Turn();
  intake_->BeginDrain(now_);
  intake_->CutOff(now_);
  Turn();
  EXPECT_TRUE(io_.Closed(client));
  io_.ReleaseDisk();
  Turn();
  ExpectNothingLeft();
  EXPECT_EQ(log_->living_bytes(), 0u);
}

TEST_F(SlowDisk, ThatFailsLetsTheClientFinishAndRefusesItsMessage) {
  Start();
  const int client = StartMessage();
  io_.HoldDisk();
  SendsWhatIsTaken(client, 32 * kMiB);
  ASSERT_FALSE(io_.Receiving(client));
  io_.ReleaseDisk(EIO);
  Turn();
  ASSERT_TRUE(home_->log_failed());
  EXPECT_TRUE(io_.Receiving(client));
  SendsWhatIsTaken(client, 4 * kMiB);
  Says(client, ".\r\n");
  EXPECT_EQ(Codes(client), "452");
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

}  // namespace
}  // namespace sluice::intake
