// What the load is made of: sizes, domains, messages, work at its rate, latencies. Arithmetic
// against values worked out by hand; a made message against the reader that checks it.

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/load/domain_choice.h"
#include "tools/load/latency.h"
#include "tools/load/message_maker.h"
#include "tools/load/size_mix.h"
#include "tools/load/work.h"
#include "tools/probe_message.h"

namespace sluice::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(SizeMix, ReadsOneSizeAMixAndAMean) {
  EXPECT_EQ(SizeMix::Parse("10k")->sizes_bytes(), std::vector<uint64_t>{10240});
  EXPECT_EQ(SizeMix::Parse("512")->sizes_bytes(), std::vector<uint64_t>{512});
  EXPECT_EQ(SizeMix::Parse("256m")->sizes_bytes(), std::vector<uint64_t>{256 << 20});
  EXPECT_EQ(SizeMix::Parse("2k:50,10k:40,1m:10")->sizes_bytes(),
            (std::vector<uint64_t>{2048, 10240, 1 << 20}));
  for (const char* text : {"", "511", "257m", "x", "2k:0", "2k:x", "2k,", "exponential:", "-5",
                           "exponential:1", "99999999999999999999k"}) {
    EXPECT_FALSE(SizeMix::Parse(text).ok()) << text;
  }
}

TEST(SizeMix, ChoosesByWeight) {
  const auto mix = SizeMix::Parse("2k:3,10k:1");
  Random chance(1);
  int small = 0;
  for (int i = 0; i < 10'000; ++i) small += mix->Choose(chance) == 0;
  EXPECT_NEAR(small, 7500, 260);  // Six standard deviations of 43.
}

TEST(SizeMix, HasTheMeanOfItsExponentialDistribution) {
  const auto mix = SizeMix::Parse("exponential:10k");
  ASSERT_EQ(mix->sizes_bytes().size(), 64u);
  double sum = 0;
  for (const uint64_t bytes : mix->sizes_bytes()) sum += static_cast<double>(bytes);
  EXPECT_NEAR(sum / 64, 10240, 200);  // The midpoints leave out the far end of the tail.
  // The middle is the median, mean times ln 2.
  EXPECT_NEAR(static_cast<double>(mix->sizes_bytes()[32]), 10240 * std::log(2), 200);
}

TEST(DomainChoice, IsUniformOrByRank) {
  EXPECT_EQ(NumberedDomains(2),
            (std::vector<std::string>{"dest-0000.example", "dest-0001.example"}));
  Random chance(1);
  const auto uniform = DomainChoice::Parse("uniform", NumberedDomains(4));
  const auto zipf = DomainChoice::Parse("zipf", NumberedDomains(3));
  int uniform_first = 0, zipf_first = 0, zipf_last = 0;
  for (int i = 0; i < 11'000; ++i) {
    uniform_first += uniform->Choose(chance) == 0;
    const uint32_t rank = zipf->Choose(chance);
    zipf_first += rank == 0;
    zipf_last += rank == 2;
  }
  EXPECT_NEAR(uniform_first, 2750, 270);
  EXPECT_NEAR(zipf_first, 6000, 320);  // Shares 1, 1/2, 1/3 of 11/6.
  EXPECT_NEAR(zipf_last, 2000, 250);
  for (const char* text :
       {"", "normal", "zipf:", "zipf:0", "zipf:-1", "zipf:11", "zipf:x", "zipf1"}) {
    EXPECT_FALSE(DomainChoice::Parse(text, NumberedDomains(2)).ok()) << text;
  }
  EXPECT_TRUE(DomainChoice::Parse("zipf:1.5", NumberedDomains(2)).ok());
}

TEST(MadeMessages, AreWholeAndOfTheirSize) {
  std::vector<uint64_t> sizes;
  for (uint64_t bytes = 512; bytes < 512 + 3 * 78; ++bytes) sizes.push_back(bytes);
  for (uint64_t bytes = 10240; bytes < 10240 + 17 * 78; bytes += 13) sizes.push_back(bytes);
  const MessageMaker maker({.sizes_bytes = sizes, .sender = "", .now = {}});
  MadeMessage message;
  ProbeReader reader;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const ProbeId id{.run = 7, .number = i};
    maker.Make(id, i, message);
    const std::string wire = absl::StrCat(message.header, message.body, message.end);
    ASSERT_TRUE(absl::EndsWith(wire, "\r\n.\r\n"));
    reader.Begin();
    reader.Take(absl::string_view(wire).substr(0, wire.size() - 3));
    ASSERT_EQ(reader.Finish(), ProbeReader::Verdict::kIntact) << sizes[i];
    EXPECT_EQ(reader.probe()->id, id);
    EXPECT_EQ(message.header.size() + reader.probe()->body_bytes, message.bytes);
    EXPECT_LE(message.bytes, sizes[i]);
    EXPECT_GE(message.bytes + 3, sizes[i]);  // A cut beside a CRLF moves.
  }
}

TEST(MadeMessages, HaveLinesThatRfc5322AllowsAndStuffing) {
  const MessageMaker maker({.sizes_bytes = {10240}, .sender = "", .now = {}});
  MadeMessage message;
  maker.Make({}, 0, message);
  const std::string wire = absl::StrCat(message.header, message.body, message.end);
  size_t dotted = 0;
  for (size_t at = 0; at < wire.size();) {
    const size_t end = wire.find("\r\n", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - at, 78u);  // RFC 5322 2.1.1, and a stuffed dot does not lengthen it beyond.
    dotted += absl::StartsWith(absl::string_view(wire).substr(at), "..");
    at = end + 2;
  }
  EXPECT_GT(dotted, 3u);
}

class WorkTest : public ::testing::Test {
 protected:
  Work Make(Work::Options options) { return Work(options, sizes_, domains_, start_); }

  SizeMix sizes_ = *SizeMix::Parse("10k");
  DomainChoice domains_ = *DomainChoice::Parse("uniform", NumberedDomains(1));
  Instant start_ = Instant() + seconds(100);
};

TEST_F(WorkTest, IsDoneWhenAllThatWasTakenIsFinished) {
  Work work = Make({.messages = 2, .recipients_per_message = 3});
  ASSERT_TRUE(work.Take(start_));
  EXPECT_EQ(work.Take(start_)->recipients, 3);
  EXPECT_FALSE(work.Take(start_));
  EXPECT_FALSE(work.done());
  work.Finish();
  work.Finish();
  EXPECT_TRUE(work.done());
  EXPECT_EQ(work.NextDue(), kNever);
}

TEST_F(WorkTest, KeepsToItsRate) {
  Work work = Make({.messages = 100, .rate_per_s = 10});
  ASSERT_TRUE(work.Take(start_));
  EXPECT_FALSE(work.Take(start_ + milliseconds(99)));
  EXPECT_EQ(work.NextDue(), start_ + milliseconds(100));
  ASSERT_TRUE(work.Take(start_ + milliseconds(100)));
  // Late by half a second: the five that are due, and no more.
  int taken = 0;
  while (work.Take(start_ + milliseconds(650))) ++taken;
  EXPECT_EQ(taken, 5);
}

TEST_F(WorkTest, MakesUpForNoMoreThanASecond) {
  Work work = Make({.messages = 1000, .rate_per_s = 10});
  int taken = 0;
  while (work.Take(start_ + seconds(60))) ++taken;
  EXPECT_EQ(taken, 11);  // One second's, and the one that is due now.
}

TEST_F(WorkTest, GivesOutWhatComesBackWhenItIsDue) {
  Work work = Make({.messages = 1});
  const Piece piece = *work.Take(start_);
  EXPECT_TRUE(work.Later({.recipients = 2}, start_ + seconds(1)));
  work.PutBack(piece);
  work.Finish();
  EXPECT_EQ(work.unassigned(), 2u);
  EXPECT_EQ(work.Take(start_)->recipients, 1);
  EXPECT_FALSE(work.Take(start_ + seconds(1) - nanoseconds(1)));
  EXPECT_EQ(work.NextDue(), start_ + seconds(1));
  EXPECT_EQ(work.Take(start_ + seconds(1))->recipients, 2);
  EXPECT_EQ(work.taken(), 2u);
}

TEST(Latency, IsZeroOfNothing) {
  EXPECT_EQ(Latency().Percentile(0.5), Duration::zero());
  EXPECT_EQ(Latency().max(), Duration::zero());
}

TEST(Latency, KnowsItsPercentilesToTwoPerCent) {
  Latency latency;
  for (int i = 1; i <= 1000; ++i) latency.Add(milliseconds(i));
  for (const double fraction : {0.01, 0.5, 0.99, 1.0}) {
    const double exact_s = fraction;  // Of 1 to 1000 ms.
    EXPECT_GE(Seconds(latency.Percentile(fraction)), exact_s - 1e-9);
    EXPECT_LE(Seconds(latency.Percentile(fraction)), exact_s * 1.02);
  }
  EXPECT_EQ(latency.max(), seconds(1));
  EXPECT_EQ(latency.Percentile(1), seconds(1));
}

TEST(Latency, TakesAnyValue) {
  for (const int64_t ns : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, int64_t{65},
                           int64_t{127}, int64_t{128}, INT64_MAX}) {
    Latency latency;
    latency.Add(nanoseconds(ns));
    EXPECT_EQ(latency.Percentile(0.5).count(), ns);
    EXPECT_EQ(latency.max().count(), ns);
  }
  Latency negative;
  negative.Add(nanoseconds(-1));
  EXPECT_EQ(negative.max(), Duration::zero());
}

}  // namespace
}  // namespace sluice::tools
