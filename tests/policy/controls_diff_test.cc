// What lies between two tables: sections that came and went, keys that changed, in the file's
// words and order.

#include "policy/controls_diff.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "policy/controls_file.h"

namespace sluice::policy {
namespace {

std::vector<ControlsEntry> Table(absl::string_view text) {
  ParsedControls parsed = ParseControlsFile(text);
  for (const FileError& error : parsed.errors) ADD_FAILURE() << error.line << ": " << error.text;
  return std::move(parsed.entries);
}

std::vector<std::string> Lines(absl::string_view before, absl::string_view after) {
  return DiffLines(DiffControls(Table(before), Table(after)));
}

using Text = std::vector<std::string>;

TEST(ControlsDiff, TwoWritingsOfOneTableDoNotDiffer) {
  EXPECT_EQ(Lines("", ""), Text{});
  EXPECT_EQ(Lines("", "[DEFAULT]\n"), Text{});
  EXPECT_EQ(Lines("[DEFAULT]\n", ""), Text{});
  EXPECT_EQ(Lines("# ours\n[b.example]\nuse_tls = 2\n[A.example.]\ntls_sni = 1\n[DEFAULT]\n",
                  "[a.example]\nTLS_SNI = On\n[B.EXAMPLE]\ntable_tls = required\n"),
            Text{});
}

TEST(ControlsDiff, SectionsComeAndGoWithAllThatTheySay) {
  const absl::string_view section =
      "[.a.example]\nmax_host_concurrency = 20\nlimit_type = host\nlimit_apply = system\n"
      "table_tls = require\n";
  EXPECT_EQ(
      Lines("", section),
      (Text{".a.example: added", ".a.example: max_host_concurrency: default -> 20",
            ".a.example: limit_type: default -> host", ".a.example: limit_apply: default -> system",
            ".a.example: table_tls: default -> required"}));
  EXPECT_EQ(
      Lines(section, ""),
      (Text{".a.example: removed", ".a.example: max_host_concurrency: 20 -> default",
            ".a.example: limit_type: host -> default", ".a.example: limit_apply: system -> default",
            ".a.example: table_tls: required -> default"}));
  EXPECT_EQ(Lines("[a.example]\n", "[[192.0.2.1]]\n"),
            (Text{"192.0.2.1: added", "a.example: removed"}));
}

TEST(ControlsDiff, KeysThatChange) {
  EXPECT_EQ(Lines("[DEFAULT]\nmax_host_concurrency = 500\n"
                  "[a.example]\ntable_tls = on\ntls_broken_memory = 60m\ntls_min = 1.2\n",
                  "[DEFAULT]\nrecipient_limit = 0\nrecipient_minutes = 1\n"
                  "[a.example]\ntable_tls = on_verify\ntls_broken_memory = 1h\ncertificate = x\n"),
            (Text{"DEFAULT: max_host_concurrency: 500 -> default",
                  "DEFAULT: recipient_minutes: default -> 1",
                  "DEFAULT: recipient_limit: default -> 0", "a.example: table_tls: on -> on_verify",
                  "a.example: tls_min: 1.2 -> default", "a.example: certificate: default -> x"}));
}

TEST(ControlsDiff, LimitsOfEachScopeAndBounces) {
  EXPECT_EQ(
      Lines("[DEFAULT]\nlimit_apply = 0\n"
            "[a.example]\nlimit_type = MXIP\nsystem_concurrency = 5\nbounce_profile = slow\n"
            "[b.example]\nbounce_verification = on\nbounce_profile = default\n",
            "[DEFAULT]\nlimit_apply = VG\nlimit_type = 0\n"
            "[a.example]\nlimit_type = 0\nsystem_recipient_limit = 7\n"
            "system_recipient_minutes = 8\nbounce_profile = Slow\n"
            "[b.example]\nbounce_validation = off\n"),
      (Text{"DEFAULT: limit_type: default -> host", "DEFAULT: limit_apply: system -> VG",
            "a.example: limit_type: MXIP -> host", "a.example: system_concurrency: 5 -> default",
            "a.example: system_recipient_minutes: default -> 8",
            "a.example: system_recipient_limit: default -> 7",
            "a.example: bounce_profile: slow -> Slow", "b.example: bounce_validation: on -> off"}));
  EXPECT_EQ(Lines("[a.example]\nlimit_type = 1\nlimit_apply = 1\nbounce_validation = 1\n",
                  "[a.example]\nlimit_type = mxip\nlimit_apply = vg\nbounce_verification = ON\n"),
            Text{});
}

TEST(ControlsDiff, TheDefaultNeitherComesNorGoes) {
  const std::vector<SectionChange> came = DiffControls({}, Table("[DEFAULT]\ntable_tls = on\n"));
  ASSERT_EQ(came.size(), 1u);
  EXPECT_EQ(came[0].kind, SectionChangeKind::kChanged);
  EXPECT_EQ(came[0].section, "DEFAULT");
  const std::vector<SectionChange> went = DiffControls(Table("[DEFAULT]\ntable_tls = on\n"), {});
  ASSERT_EQ(went.size(), 1u);
  EXPECT_EQ(went[0].kind, SectionChangeKind::kChanged);
}

// To inherit a value and to give the same one are two things: a new default changes the first only.
TEST(ControlsDiff, WhatIsSaidIsComparedAndNotWhatHolds) {
  EXPECT_EQ(Lines("[DEFAULT]\ntable_tls = on\n[a.example]\n",
                  "[DEFAULT]\ntable_tls = on\n[a.example]\ntable_tls = on\n"),
            Text{"a.example: table_tls: default -> on"});
  EXPECT_EQ(Lines("[DEFAULT]\ntable_tls = on\n[a.example]\n",
                  "[DEFAULT]\ntable_tls = off\n[a.example]\n"),
            Text{"DEFAULT: table_tls: on -> off"});
}

TEST(ControlsDiff, AsAStructure) {
  const std::vector<SectionChange> changes =
      DiffControls(Table("[a.example]\nmax_messages_per_connection = 5\n[b.example]\n"),
                   Table("[a.example]\nmax_messages_per_connection = 6\ntls_sni = off\n"));
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].kind, SectionChangeKind::kChanged);
  ASSERT_EQ(changes[0].fields.size(), 2u);
  EXPECT_EQ(changes[0].fields[0].key, "max_messages_per_connection");
  EXPECT_EQ(changes[0].fields[0].before, "5");
  EXPECT_EQ(changes[0].fields[0].after, "6");
  EXPECT_EQ(changes[0].fields[1].key, "tls_sni");
  EXPECT_EQ(changes[0].fields[1].before, std::nullopt);
  EXPECT_EQ(changes[0].fields[1].after, "off");
  EXPECT_EQ(changes[1].kind, SectionChangeKind::kRemoved);
  EXPECT_TRUE(changes[1].fields.empty());
}

// "-a.example +b.example": what a table of `before` takes out and puts in to be one of `after`.
std::string Small(absl::string_view before, absl::string_view after, size_t sections_max = 3) {
  const std::optional<ControlsChange> change =
      SmallChange(Table(before), Table(after), sections_max);
  if (!change) return "large";
  std::vector<std::string> words;
  for (const std::string& domain : change->removed) words.push_back("-" + domain);
  for (const ControlsEntry& entry : change->put) words.push_back("+" + entry.domain);
  return absl::StrJoin(words, " ");
}

TEST(SmallChange, IsOfSectionsThatCameWentOrChanged) {
  const absl::string_view three =
      "[DEFAULT]\n[a.example]\n[b.example]\ntls_sni = on\n[c.example]\n";
  EXPECT_EQ(Small(three, three), "");
  EXPECT_EQ(Small(three,
                  "[DEFAULT]\n\n# moved\n[a.example]\n[b.example]\ntls_sni = on\n"
                  "[c.example]\n"),
            "");
  EXPECT_EQ(Small(three, "[DEFAULT]\n[a.example]\n[b.example]\n[c.example]\n"), "+b.example");
  EXPECT_EQ(Small(three, "[DEFAULT]\n[b.example]\ntls_sni = on\n[c.example]\n"), "-a.example");
  EXPECT_EQ(Small(three, "[DEFAULT]\n[a.example]\n"), "-b.example -c.example");
  EXPECT_EQ(Small("[DEFAULT]\n[c.example]\n", three), "+a.example +b.example");
  EXPECT_EQ(Small("[DEFAULT]\n", three), "+a.example +b.example +c.example");
  EXPECT_EQ(Small("[DEFAULT]\n[a.example]\n[x.example]\n[c.example]\n", three),
            "-x.example +b.example");
}

// What stood in another order is taken out and put in again: right, if not least.
TEST(SmallChange, OfAnotherOrderSaysTheSame) {
  EXPECT_EQ(Small("[a.example]\n[b.example]\n", "[b.example]\n[a.example]\n"),
            "-b.example +b.example");
}

TEST(SmallChange, ThatIsLargeOrOfTheDefaultIsNone) {
  const absl::string_view four = "[a.example]\n[b.example]\n[c.example]\n[d.example]\n";
  EXPECT_EQ(Small(four, "", 3), "large");
  EXPECT_EQ(Small("", four, 3), "large");
  EXPECT_EQ(Small(four, "", 4), "-a.example -b.example -c.example -d.example");
  EXPECT_EQ(Small("", four, 4), "+a.example +b.example +c.example +d.example");
  EXPECT_EQ(Small("[DEFAULT]\n", "[DEFAULT]\ntls_sni = on\n"), "large");
  EXPECT_EQ(Small("", "[DEFAULT]\n"), "large");
  EXPECT_EQ(Small("[DEFAULT]\n", ""), "large");
}

}  // namespace
}  // namespace sluice::policy
