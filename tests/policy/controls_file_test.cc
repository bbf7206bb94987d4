// destinations.ini: what each key takes and refuses, at the bounds and one over; the dependencies
// of keys; names of sections; and that every error of a file is reported with its line. The rules
// are the appliance's.

#include "policy/controls_file.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

// "line: text" of every error.
std::vector<std::string> Errors(absl::string_view text) {
  std::vector<std::string> errors;
  for (const FileError& error : ParseControlsFile(text).errors) {
    errors.push_back(absl::StrCat(error.line, ": ", error.text));
  }
  return errors;
}

bool Accepted(absl::string_view text) {
  const std::vector<std::string> errors = Errors(text);
  return errors.empty();
}

// The text's only entry.
ControlsEntry OnlyEntry(absl::string_view text) {
  const ParsedControls parsed = ParseControlsFile(text);
  EXPECT_TRUE(parsed.errors.empty()) << absl::StrJoin(Errors(text), "\n");
  EXPECT_EQ(parsed.entries.size(), 1u);
  return parsed.entries.empty() ? ControlsEntry{} : parsed.entries[0];
}

constexpr absl::string_view kKind = "limit_type = host\nlimit_apply = system\n";

TEST(ControlsFile, AWholeFile) {
  const ParsedControls parsed = ParseControlsFile(
      "# The house's controls.\n"
      "[DEFAULT]\n"
      "ip_sort_pref = PREFER_V6\n"
      "max_host_concurrency = 500\n"
      "max_messages_per_connection = 50\n"
      "recipient_minutes = 60\n"
      "recipient_limit = 100000\n"
      "limit_type = host\n"
      "limit_apply = system\n"
      "table_tls = off\n"
      "bounce_validation = off\n"
      "send_tls_req_alert = off\n"
      "\n"
      "[.freemail.example]\n"
      "max_host_concurrency = 20\n"
      "max_messages_per_connection = 5\n"
      "recipient_minutes = 1\n"
      "recipient_limit = 180\n"
      "limit_type = host\n"
      "limit_apply = system\n"
      "\n"
      "[bank.example]\n");
  EXPECT_TRUE(parsed.errors.empty());
  ASSERT_EQ(parsed.entries.size(), 3u);
  EXPECT_EQ(parsed.entries[0].domain, "");
  EXPECT_EQ(parsed.entries[0].line, 2);
  EXPECT_EQ(parsed.entries[0].connections_max, 500u);
  EXPECT_EQ(parsed.entries[0].recipients_max, 100'000u);
  EXPECT_EQ(parsed.entries[1].domain, ".freemail.example");
  EXPECT_EQ(parsed.entries[1].line, 14);
  EXPECT_EQ(parsed.entries[1].connections_max, 20u);
  EXPECT_EQ(parsed.entries[1].messages_per_connection_max, 5u);
  EXPECT_EQ(parsed.entries[1].recipient_minutes, 1u);
  EXPECT_EQ(parsed.entries[1].recipients_max, 180u);
  EXPECT_EQ(parsed.entries[2].domain, "bank.example");
  EXPECT_FALSE(parsed.entries[2].connections_max.has_value());
  EXPECT_FALSE(parsed.entries[2].recipients_max.has_value());
}

TEST(ControlsFile, AnEmptyOneSaysNothing) {
  for (const char* text : {"", "\n", "\r\n\r\n", "# nothing", ";nothing\n", "\xef\xbb\xbf"}) {
    const ParsedControls parsed = ParseControlsFile(text);
    EXPECT_TRUE(parsed.entries.empty());
    EXPECT_TRUE(parsed.errors.empty());
  }
}

TEST(ControlsFile, WritingsOfALine) {
  for (const char* line :
       {"max_messages_per_connection=7", "max_messages_per_connection = 7",
        "  max_messages_per_connection\t=\t7  ", "MAX_Messages_Per_Connection = 7",
        "max_messages_per_connection: 7", "max_messages_per_connection = 7\r",
        "max_messages_per_connection = 7 # a comment", "max_messages_per_connection = 7 ; one",
        "max_messages_per_connection = 007"}) {
    const ControlsEntry entry = OnlyEntry(absl::StrCat("[a.example]\n", line));
    EXPECT_EQ(entry.messages_per_connection_max, 7u) << line;
  }
}

TEST(ControlsFile, NumbersAtTheirBoundsAndOneOver) {
  const struct {
    const char* key;
    uint64_t min, max;
    std::string others;
  } kRows[] = {
      {"max_host_concurrency", 1, 1000, std::string(kKind)},
      {"concurrency_limit", 1, 1000, std::string(kKind)},
      {"max_messages_per_connection", 1, 1000, ""},
      {"recipient_minutes", 1, 60, absl::StrCat("recipient_limit = 5\n", kKind)},
      {"recipient_limit_minutes", 1, 60, absl::StrCat("recipient_limit = 5\n", kKind)},
      {"recipient_limit", 0, 1'000'000'000, absl::StrCat("recipient_minutes = 5\n", kKind)},
      {"system_concurrency", 1, 1000, ""},
      {"system_recipient_minutes", 1, 60, "system_recipient_limit = 5\n"},
      {"system_recipient_limit", 0, 1'000'000'000, "system_recipient_minutes = 5\n"},
  };
  for (const auto& row : kRows) {
    const auto with = [&](absl::string_view value) {
      return absl::StrCat("[a.example]\n", row.others, row.key, " = ", value, "\n");
    };
    EXPECT_TRUE(Accepted(with(absl::StrCat(row.min)))) << row.key;
    EXPECT_TRUE(Accepted(with(absl::StrCat(row.max)))) << row.key;
    if (row.min > 0) {
      EXPECT_FALSE(Accepted(with(absl::StrCat(row.min - 1)))) << row.key;
    }
    EXPECT_FALSE(Accepted(with(absl::StrCat(row.max + 1)))) << row.key;
    for (const char* value : {"", "-1", "+1", "1.5", "0x10", "1 000", "five", "1e3", "4294967297",
                              "18446744073709551617", "99999999999999999999999999"}) {
      EXPECT_EQ(Errors(with(value)).size(), 1u) << row.key << " = " << value;
    }
  }
}

TEST(ControlsFile, CeilingsOfTheExtendedProfile) {
  const struct {
    const char* key;
    std::string others;
  } kRows[] = {{"max_host_concurrency", std::string(kKind)},
               {"max_messages_per_connection", ""},
               {"system_concurrency", ""}};
  for (const auto& row : kRows) {
    const auto errors = [&](int value, ControlsProfile profile) {
      const std::string text =
          absl::StrCat("[a.example]\n", row.others, row.key, " = ", value, "\n");
      return ParseControlsFile(text, {.profile = profile}).errors.size();
    };
    EXPECT_EQ(errors(1000, ControlsProfile::kCompatible), 0u);
    EXPECT_EQ(errors(1001, ControlsProfile::kCompatible), 1u);
    EXPECT_EQ(errors(1'000'000, ControlsProfile::kExtended), 0u);
    EXPECT_EQ(errors(1'000'001, ControlsProfile::kExtended), 1u);
    EXPECT_EQ(errors(0, ControlsProfile::kExtended), 1u);
  }
}

TEST(ControlsFile, BothSpellingsSayTheSame) {
  const ControlsEntry entry = OnlyEntry(
      "[a.example]\nconcurrency_limit = 3\nconcurrency_limit_type = HOST\n"
      "concurrency_limit_apply = SYSTEM\nrecipient_limit_minutes = 4\nrecipient_limit = 5\n"
      "use_tls = OFF\nbounce_verification = Off\n");
  EXPECT_EQ(entry.limits_each_address, false);
  EXPECT_EQ(entry.limits_each_source, false);
  EXPECT_EQ(entry.tag_sender, false);
  EXPECT_EQ(entry.connections_max, 3u);
  EXPECT_EQ(entry.recipient_minutes, 4u);
  EXPECT_EQ(entry.recipients_max, 5u);
}

// Each word and its number, by both spellings of the key, in any case, in both kinds of section.
TEST(ControlsFile, WordsOfTwoValues) {
  const struct {
    std::vector<const char*> keys;
    std::vector<const char*> off, on;
    std::optional<bool> ControlsEntry::*field;
    const char* refusal;
  } kRows[] = {
      {{"limit_type", "concurrency_limit_type", "LIMIT_TYPE"},
       {"host", "HOST", "0"},
       {"MXIP", "mxip", "MxIp", "1"},
       &ControlsEntry::limits_each_address,
       "must be one of host, 0, MXIP, 1"},
      {{"limit_apply", "concurrency_limit_apply", "Concurrency_Limit_Apply"},
       {"system", "System", "0"},
       {"VG", "vg", "1"},
       &ControlsEntry::limits_each_source,
       "must be one of system, 0, VG, 1"},
      {{"bounce_validation", "bounce_verification", "Bounce_Validation"},
       {"off", "OFF", "0"},
       {"on", "On", "1"},
       &ControlsEntry::tag_sender,
       "must be one of off, 0, on, 1"},
  };
  for (const auto& row : kRows) {
    for (const char* key : row.keys) {
      for (const char* section : {"[a.example]\n", "[DEFAULT]\n"}) {
        const auto with = [&](absl::string_view value) {
          return absl::StrCat(section, key, " = ", value, "\n");
        };
        for (const char* word : row.off) EXPECT_EQ(OnlyEntry(with(word)).*row.field, false);
        for (const char* word : row.on) EXPECT_EQ(OnlyEntry(with(word)).*row.field, true);
        EXPECT_EQ(OnlyEntry(section).*row.field, std::nullopt);
        for (const char* word :
             {"", "2", "00", "01", "-1", "default", "none", "yes", "host,MXIP"}) {
          EXPECT_EQ(Errors(with(word)).size(), 1u) << with(word);
        }
        EXPECT_EQ(Errors(with("x")), std::vector<std::string>{absl::StrCat(
                                         "2: ", row.keys[0], " = \"x\": ", row.refusal)});
      }
    }
  }
}

// A name is kept as it is written, since the configuration tells its profiles apart by case.
TEST(ControlsFile, BounceProfilesByName) {
  for (const char* name :
       {"tls_failed", "TLS_Failed", "Ours for banks", "defaults", "0", "x=y:z"}) {
    EXPECT_EQ(OnlyEntry(absl::StrCat("[a.example]\nBounce_Profile = ", name)).bounce_profile, name);
  }
  for (const char* word : {"default", "Default", "DEFAULT"}) {
    const ControlsEntry entry = OnlyEntry(absl::StrCat("[a.example]\nbounce_profile = ", word));
    EXPECT_EQ(entry.bounce_profile, std::nullopt) << word;
  }
  EXPECT_EQ(Errors("[a.example]\nbounce_profile =\n"),
            std::vector<std::string>{"2: bounce_profile = \"\": the value is missing"});
  EXPECT_EQ(Errors(absl::StrCat("[a.example]\nbounce_profile = ", std::string(4096, 'x'))).size(),
            1u);
  EXPECT_FALSE(Accepted("[a.example]\nbounce_profile = a\nbounce_profile = a\n"));
}

// The limits of the whole are beside the others, whatever these are of, and need no kind.
TEST(ControlsFile, LimitsOfTheWholeStandWithAnyOthers) {
  const std::string system =
      "system_concurrency = 9\nsystem_recipient_limit = 0\nSYSTEM_recipient_minutes = 7\n";
  std::vector<std::string> others = {""};
  for (const char* type : {"host", "MXIP"}) {
    for (const char* apply : {"system", "VG"}) {
      const std::string kind = absl::StrCat("limit_type = ", type, "\nlimit_apply = ", apply, "\n");
      others.push_back(kind);
      others.push_back(absl::StrCat(kind, "max_host_concurrency = 5\nrecipient_limit = 5\n",
                                    "recipient_minutes = 5\n"));
    }
  }
  for (const char* section : {"[a.example]\n", "[DEFAULT]\n", "[.a.example]\n"}) {
    for (const std::string& other : others) {
      const ControlsEntry entry = OnlyEntry(absl::StrCat(section, other, system));
      EXPECT_EQ(entry.system_connections_max, 9u);
      EXPECT_EQ(entry.system_recipients_max, 0u);
      EXPECT_EQ(entry.system_recipient_minutes, 7u);
    }
  }
}

// What is not enforced is refused wherever it is asked for, and said to be so.
TEST(ControlsFile, WhatThisVersionDoesNotEnforce) {
  const struct {
    const char* key;
    std::vector<const char*> accepted;
    std::vector<const char*> unenforced;
  } kRows[] = {
      {"dane_option", {"none", "NONE"}, {"opportunistic", "Mandatory"}},
  };
  for (const auto& row : kRows) {
    const auto with = [&](absl::string_view value) {
      return absl::StrCat("[a.example]\n", row.key, " = ", value, "\n");
    };
    for (const char* value : row.accepted) EXPECT_TRUE(Accepted(with(value))) << with(value);
    for (const char* value : row.unenforced) {
      const std::vector<std::string> errors = Errors(with(value));
      ASSERT_EQ(errors.size(), 1u) << with(value);
      EXPECT_TRUE(absl::StrContains(errors[0], "this version does not enforce it")) << errors[0];
      EXPECT_TRUE(absl::StartsWith(errors[0], "2: ")) << errors[0];
    }
    EXPECT_FALSE(Accepted(with("")));
  }
  // Another word is simply wrong.
  EXPECT_EQ(Errors("[a.example]\ndane_option = on\n"),
            std::vector<std::string>{
                "2: dane_option = \"on\": must be one of none, opportunistic, mandatory"});
}

TEST(ControlsFile, GlobalKeysStandInTheDefaultAndBounceProfilesDoNot) {
  EXPECT_EQ(Errors("[a.example]\nsend_tls_req_alert = off\n"),
            std::vector<std::string>{"2: send_tls_req_alert may stand in [DEFAULT] only"});
  EXPECT_EQ(Errors("[DEFAULT]\nbounce_profile = default\n"),
            std::vector<std::string>{"2: bounce_profile may not stand in [DEFAULT]"});
  EXPECT_EQ(Errors("[DEFAULT]\nbounce_profile = slow\n"),
            std::vector<std::string>{"2: bounce_profile may not stand in [DEFAULT]"});
}

TEST(ControlsFile, KeysThatNeedOthers) {
  const struct {
    const char* keys;
    std::vector<const char*> missing;
  } kRows[] = {
      {"max_host_concurrency = 5\n", {"limit_type", "limit_apply"}},
      {"max_host_concurrency = 5\nlimit_type = host\n", {"limit_apply"}},
      {"max_host_concurrency = 5\nlimit_apply = system\n", {"limit_type"}},
      {"max_host_concurrency = 5\nlimit_apply = system\nlimit_type = host\n", {}},
      {"recipient_limit = 5\n", {"recipient_minutes", "limit_type", "limit_apply"}},
      {"recipient_limit = 5\nrecipient_minutes = 1\n", {"limit_type", "limit_apply"}},
      {"recipient_limit = 5\nlimit_apply = 0\nlimit_type = 0\n", {"recipient_minutes"}},
      {"recipient_minutes = 5\nlimit_apply = 0\nlimit_type = 0\n", {"recipient_limit"}},
      {"recipient_minutes = 5\n", {"recipient_limit"}},
      {"max_host_concurrency = 5\nlimit_apply = VG\nlimit_type = MXIP\n", {}},
      {"system_concurrency = 5\n", {}},
      {"system_recipient_limit = 5\n", {"system_recipient_minutes"}},
      {"system_recipient_minutes = 5\n", {"system_recipient_limit"}},
      {"system_recipient_limit = 5\nsystem_recipient_minutes = 5\n", {}},
      // One pair is not the other's half.
      {"system_recipient_limit = 5\nrecipient_minutes = 5\n",
       {"recipient_limit", "system_recipient_minutes"}},
      {"max_messages_per_connection = 5\n", {}},
      {"limit_type = MXIP\n", {}},
      {"limit_apply = VG\n", {}},
      // A key with a bad value is not missing as well.
      {"recipient_limit = 5\nrecipient_minutes = 61\nlimit_apply = 0\nlimit_type = 0\n", {nullptr}},
  };
  for (const auto& row : kRows) {
    const std::vector<std::string> errors = Errors(absl::StrCat("\n[a.example]\n", row.keys));
    ASSERT_EQ(errors.size(), row.missing.size()) << row.keys;
    for (size_t i = 0; i < errors.size(); ++i) {
      if (row.missing[i] == nullptr) continue;
      EXPECT_TRUE(absl::StartsWith(errors[i], "2: ")) << errors[i];  // The section's line.
      EXPECT_TRUE(absl::EndsWith(errors[i], absl::StrCat("must give ", row.missing[i])))
          << errors[i];
    }
  }
}

TEST(ControlsFile, TheDefaultMayLeaveOutAllButHalfAPair) {
  EXPECT_TRUE(Accepted("[DEFAULT]\n"));
  EXPECT_TRUE(Accepted("[DEFAULT]\nmax_host_concurrency = 5\n"));
  EXPECT_TRUE(Accepted("[default]\nrecipient_limit = 5\nrecipient_minutes = 1\n"));
  EXPECT_FALSE(Accepted("[DEFAULT]\nrecipient_limit = 5\n"));
  EXPECT_FALSE(Accepted("[DEFAULT]\nrecipient_minutes = 5\n"));
  EXPECT_TRUE(Accepted("[default]\nsystem_recipient_limit = 5\nsystem_recipient_minutes = 1\n"));
  EXPECT_FALSE(Accepted("[DEFAULT]\nsystem_recipient_limit = 5\n"));
  EXPECT_FALSE(Accepted("[DEFAULT]\nsystem_recipient_minutes = 5\n"));
}

TEST(ControlsFile, NamesOfSections) {
  const struct {
    const char* line;
    const char* domain;
  } kRows[] = {
      {"[Example.COM.]", "example.com"},
      {"  [ example.com ]  # ours", "example.com"},
      {"[.Example.com]", ".example.com"},
      {"[bücher.example]", "xn--bcher-kva.example"},
      {"[.bücher.example]", ".xn--bcher-kva.example"},
      {"[Default]", ""},
      {"[192.0.2.1]", "[192.0.2.1]"},
      {"[[192.0.2.1]]", "[192.0.2.1]"},
      {"[2001:DB8::1]", "[IPv6:2001:db8::1]"},
      {"[[IPv6:2001:db8::1]]", "[IPv6:2001:db8::1]"},
      {"[::ffff:192.0.2.1]", "[192.0.2.1]"},
  };
  for (const auto& row : kRows) EXPECT_EQ(OnlyEntry(row.line).domain, row.domain) << row.line;
}

TEST(ControlsFile, SectionsWithoutADomain) {
  for (const char* line : {"[", "[]", "[a.example", "[a.example] x", "[.]", "[..example]",
                           "[*.example]", "[a b]", "[ALL]", "[.[192.0.2.1]]", "[a..example]"}) {
    const std::vector<std::string> errors = Errors(line);
    ASSERT_EQ(errors.size(), 1u) << line;
    EXPECT_TRUE(absl::StartsWith(errors[0], "1: ")) << errors[0];
  }
}

TEST(ControlsFile, TwoWritingsOfOneSectionAreADuplicate) {
  EXPECT_EQ(Errors("[example.com]\n[other.example]\n[Example.COM.]\n"),
            std::vector<std::string>{"3: section \"Example.COM.\" stands twice, first at line 1"});
  EXPECT_EQ(Errors("[DEFAULT]\n[default]\n").size(), 1u);
  EXPECT_EQ(Errors("[192.0.2.1]\n[[192.0.2.1]]\n").size(), 1u);
  EXPECT_TRUE(Accepted("[example.com]\n[.example.com]\n"));
}

TEST(ControlsFile, AKeyIsGivenOnceInEitherSpelling) {
  EXPECT_EQ(Errors("[a.example]\nlimit_type = host\nlimit_apply = system\n"
                   "max_host_concurrency = 5\nconcurrency_limit = 5\n"),
            std::vector<std::string>{"5: max_host_concurrency is given twice, first at line 4"});
}

TEST(ControlsFile, LinesThatAreNothing) {
  EXPECT_EQ(
      Errors("max_host_concurrency = 5\n[a.example]\n"),
      std::vector<std::string>{"1: \"max_host_concurrency\" stands before the first section"});
  EXPECT_EQ(Errors("[a.example]\nhello\n"),
            std::vector<std::string>{"2: \"hello\" is neither [section] nor key = value"});
  EXPECT_EQ(Errors("[a.example]\nmax_host_concurency = 5\n"),
            std::vector<std::string>{"2: unknown key \"max_host_concurency\""});
  EXPECT_EQ(Errors("[a.example]\n= 5\n"), std::vector<std::string>{"2: unknown key \"\""});
}

TEST(ControlsFile, EveryErrorIsReportedInTheOrderOfLines) {
  const std::vector<std::string> errors = Errors(
      "early = 1\n"
      "[a..example]\n"
      "max_host_concurrency = 0\n"  // Bad, and without its kind.
      "[b.example]\n"
      "colour = blue\n"
      "recipient_minutes = 61\n"
      "[b.example]\n"
      "dane_option = mandatory\n");
  std::vector<std::string> lines;
  for (const std::string& error : errors) lines.push_back(error.substr(0, error.find(':')));
  EXPECT_EQ(lines, (std::vector<std::string>{"1", "2", "2", "2", "3", "4", "5", "6", "7", "8"}));
}

TEST(ControlsFile, LongLinesAreReadWholeAndQuotedInPart) {
  const std::string blanks(10'000, ' ');
  EXPECT_TRUE(Accepted(absl::StrCat("[a.example]\nmax_messages_per_connection =", blanks, "7\n")));
  const std::vector<std::string> errors = Errors(std::string(100'000, 'x'));
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_LT(errors[0].size(), 400u);
}

TEST(ControlsFile, WhatCannotBePrintedIsEscaped) {
  EXPECT_EQ(Errors(absl::string_view("[a.example]\nk\0\x1b = 5\n", 20)),
            std::vector<std::string>{"2: unknown key \"k\\x00\\x1b\""});
}

}  // namespace
}  // namespace sluice::policy
