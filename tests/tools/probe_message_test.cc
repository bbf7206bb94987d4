// The probe line's form, and the reader of probe messages: whole and damaged ones, cut into pieces
// at every position. Hashes are those of the xxHash library over bytes written out here.

#include "tools/probe_message.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

using Verdict = ProbeReader::Verdict;

Probe ProbeOf(absl::string_view plain_body) {
  return {.id = {.run = 0xab, .number = 0x12},
          .body_bytes = plain_body.size(),
          .body_hash = XXH3_64bits(plain_body.data(), plain_body.size())};
}

// As a relay hands it on: a Received line on top, folded.
std::string Message(const Probe& probe, absl::string_view wire_body) {
  return absl::StrCat("Received: from a\r\n\tby b\r\nSubject: x\r\n", probe.ToHeaderLine(),
                      "To: y\r\n\r\n", wire_body);
}

Verdict Read(absl::string_view message) {
  ProbeReader reader;
  reader.Take(message);
  return reader.Finish();
}

TEST(ProbeLine, IsWrittenAndReadInOneForm) {
  const Probe probe{.id = {.run = 0xdeadbeef, .number = 0x123}, .body_bytes = 10, .body_hash = 0xf};
  EXPECT_EQ(probe.ToHeaderLine(),
            "X-Sluice-Probe: id=deadbeef000000000123; bytes=10; xxh3=000000000000000f\r\n");
  EXPECT_EQ(Probe::ParseHeaderLine(
                "x-sluice-probe: id=deadbeef000000000123; bytes=10; xxh3=000000000000000f"),
            probe);
}

TEST(ProbeLine, OfAnotherFormIsNone) {
  for (const char* line : {
           "",
           "X-Sluice-Probe:",
           "X-Sluice-Probe: id=deadbeef00000000012; bytes=10; xxh3=000000000000000f",
           "X-Sluice-Probe: id=deadbeef000000000123; bytes=; xxh3=000000000000000f",
           "X-Sluice-Probe: id=deadbeef000000000123; bytes=-1; xxh3=000000000000000f",
           "X-Sluice-Probe: id=deadbeef000000000123; bytes=10; xxh3=00000000000000f",
           "X-Sluice-Probe: id=deadbeef000000000123; bytes=10; xxh3=000000000000000f0",
           "X-Sluice-Probe: id=DEADBEEF000000000123; bytes=10; xxh3=000000000000000f",
           "X-Other: id=deadbeef000000000123; bytes=10; xxh3=000000000000000f",
       }) {
    EXPECT_FALSE(Probe::ParseHeaderLine(line)) << line;
  }
}

TEST(ProbeMessage, IsWholeWithItsStuffingTakenAway) {
  const absl::string_view plain = ".one\r\ntwo.\r\n..\r\n.\r\n";
  const absl::string_view wire = "..one\r\ntwo.\r\n...\r\n..\r\n";
  const std::string message = Message(ProbeOf(plain), wire);
  EXPECT_EQ(Read(message), Verdict::kIntact);
  for (size_t first = 0; first <= message.size(); ++first) {
    for (size_t second = first; second <= message.size(); second += 7) {
      ProbeReader reader;
      const absl::string_view all = message;
      reader.Take(all.substr(0, first));
      reader.Take(all.substr(first, second - first));
      reader.Take(all.substr(second));
      ASSERT_EQ(reader.Finish(), Verdict::kIntact) << first << " " << second;
    }
  }
}

TEST(ProbeMessage, IsWholeByteByByte) {
  ProbeReader reader;
  for (const char c : Message(ProbeOf(".a\r\n"), "..a\r\n")) reader.Take({&c, 1});
  EXPECT_EQ(reader.Finish(), Verdict::kIntact);
  ASSERT_TRUE(reader.probe());
  EXPECT_EQ(reader.probe()->id.ToString(), "000000ab000000000012");
}

TEST(ProbeMessage, WithAnotherBodyIsDamaged) {
  const Probe probe = ProbeOf("body\r\n");
  EXPECT_EQ(Read(Message(probe, "body\r\n")), Verdict::kIntact);
  EXPECT_EQ(Read(Message(probe, "bodY\r\n")), Verdict::kDamaged);
  EXPECT_EQ(Read(Message(probe, "body\r\n\r\n")), Verdict::kDamaged);
  EXPECT_EQ(Read(Message(probe, "body")), Verdict::kDamaged);
  EXPECT_EQ(Read(Message(probe, "")), Verdict::kDamaged);
}

TEST(ProbeMessage, WithoutItsLineInTheHeaderSectionIsNone) {
  EXPECT_EQ(Read(""), Verdict::kNoProbe);
  EXPECT_EQ(Read("Subject: x\r\n\r\nbody\r\n"), Verdict::kNoProbe);
  EXPECT_EQ(Read(absl::StrCat("Subject: x\r\n\r\n", ProbeOf("").ToHeaderLine())),
            Verdict::kNoProbe);
}

TEST(ProbeMessage, IsFoundBehindLinesOfAnyLength) {
  const std::string longest = absl::StrCat("X: ", std::string(5000, 'x'), "\r\n");
  EXPECT_EQ(Read(absl::StrCat(longest, Message(ProbeOf("b\r\n"), "b\r\n"))), Verdict::kIntact);
}

TEST(ProbeMessage, LeavesNothingForTheNext) {
  ProbeReader reader;
  reader.Take(Message(ProbeOf("b\r\n"), "b\r\n"));
  EXPECT_EQ(reader.Finish(), Verdict::kIntact);
  reader.Begin();
  reader.Take("Subject: x\r\n\r\n");
  EXPECT_EQ(reader.Finish(), Verdict::kNoProbe);
}

}  // namespace
}  // namespace sluice::tools
