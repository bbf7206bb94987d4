// ip_sort_pref: its four words in any case, what is refused, and what an entry inherits. The words
// and the factory value are the appliance's.

#include "policy/ip_preference.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/controls_file.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"
#include "policy/controls_text.h"

namespace sluice::policy {
namespace {

const struct {
  const char* word;
  IpPreference preference;
  Family family;
  bool required;
} kWords[] = {
    {"PREFER_V6", IpPreference::kPreferV6, Family::kIpv6, false},
    {"REQUIRE_V6", IpPreference::kRequireV6, Family::kIpv6, true},
    {"PREFER_V4", IpPreference::kPreferV4, Family::kIpv4, false},
    {"REQUIRE_V4", IpPreference::kRequireV4, Family::kIpv4, true},
};

ParsedControls ParseOne(absl::string_view value) {
  return ParseControlsFile(absl::StrCat("[a.example]\nip_sort_pref = ", value, "\n"));
}

TEST(IpPreference, EachWordSaysAFamilyAndWhetherItIsRequired) {
  for (const auto& row : kWords) {
    EXPECT_EQ(ParseIpPreference(row.word), row.preference);
    EXPECT_EQ(IpPreferenceName(row.preference), row.word);
    EXPECT_EQ(FamilyOf(row.preference), row.family) << row.word;
    EXPECT_EQ(RequiresFamily(row.preference), row.required) << row.word;
  }
}

TEST(IpPreference, TheFileTakesEachWord) {
  for (const auto& row : kWords) {
    const ParsedControls parsed = ParseOne(row.word);
    ASSERT_TRUE(parsed.errors.empty()) << row.word;
    ASSERT_EQ(parsed.entries.size(), 1u);
    EXPECT_EQ(parsed.entries[0].ip_preference, row.preference) << row.word;
  }
}

TEST(IpPreference, WordsAreReadInAnyCase) {
  // As the appliance's manual writes them, and otherwise.
  EXPECT_EQ(ParseOne("REQUIRE_v6").entries[0].ip_preference, IpPreference::kRequireV6);
  EXPECT_EQ(ParseOne("REQUIRE_v4").entries[0].ip_preference, IpPreference::kRequireV4);
  EXPECT_EQ(ParseOne("prefer_v4").entries[0].ip_preference, IpPreference::kPreferV4);
  EXPECT_EQ(ParseOne("Prefer_V6").entries[0].ip_preference, IpPreference::kPreferV6);
}

TEST(IpPreference, OtherWordsAreRefusedAndTheRightOnesNamed) {
  for (const char* value : {"V4", "PREFER_V5", "PREFERV4", "PREFER V4", "PREFER-V4", "REQUIRE", "0",
                            "1", "PREFER_V44", "XPREFER_V4", "PREFER_V4 REQUIRE_V4"}) {
    const ParsedControls parsed = ParseOne(value);
    ASSERT_EQ(parsed.errors.size(), 1u) << value;
    EXPECT_EQ(parsed.errors[0].line, 2);
    EXPECT_EQ(parsed.errors[0].text,
              absl::StrCat("ip_sort_pref = \"", value,
                           "\": must be one of PREFER_V6, REQUIRE_V6, PREFER_V4, REQUIRE_V4"));
    EXPECT_FALSE(ParseIpPreference(value).has_value()) << value;
  }
  EXPECT_EQ(ParseOne("").errors.size(), 1u);
}

TEST(IpPreference, IsWrittenAsItsWordAndLeftOutWhenCleared) {
  for (const auto& row : kWords) {
    ControlsEntry entry = {.domain = "a.example", .ip_preference = row.preference};
    EXPECT_EQ(ControlsText(ControlsKey::kIpSortPref, entry), row.word);
    ClearControlsValue(ControlsKey::kIpSortPref, entry);
    EXPECT_FALSE(entry.ip_preference.has_value());
    EXPECT_FALSE(ControlsText(ControlsKey::kIpSortPref, entry).has_value());
  }
  EXPECT_EQ(FactoryText(ControlsKey::kIpSortPref), "PREFER_V6");
}

TEST(IpPreference, AnEntryInheritsItFromTheDefault) {
  const ControlsTable table({
      {.domain = "", .ip_preference = IpPreference::kRequireV4},
      {.domain = "own.example", .ip_preference = IpPreference::kPreferV6},
      {.domain = "none.example"},
  });
  EXPECT_EQ(table.Lookup("own.example").ip_preference, IpPreference::kPreferV6);
  EXPECT_EQ(table.Lookup("none.example").ip_preference, IpPreference::kRequireV4);
  EXPECT_EQ(table.Lookup("else.example").ip_preference, IpPreference::kRequireV4);
}

TEST(IpPreference, WithoutADefaultIpv6IsPreferred) {
  const ControlsTable table({{.domain = "none.example"}});
  EXPECT_EQ(table.Lookup("none.example").ip_preference, IpPreference::kPreferV6);
  EXPECT_EQ(table.Lookup("else.example").ip_preference, IpPreference::kPreferV6);
}

}  // namespace
}  // namespace sluice::policy
