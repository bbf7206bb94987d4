// The table as it is edited: each command's success beside each of its refusals, and that after a
// refusal nothing has changed. Ranges, spellings and rules are the appliance's; what an edited
// table must be is written as a file by hand.

#include "policy/controls_change.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/controls_writer.h"

namespace sluice::policy {
namespace {

using Entries = std::vector<ControlsEntry>;
using Words = std::vector<std::string>;

Entries Table(absl::string_view text) {
  ParsedControls parsed = ParseControlsFile(text);
  for (const FileError& error : parsed.errors) ADD_FAILURE() << error.line << ": " << error.text;
  return std::move(parsed.entries);
}

// Two texts of one table are one text once they are written by us.
std::string Canonical(absl::string_view text) {
  return WriteControlsFile(Table(text));
}

// The change is refused with this text, and has changed nothing.
template <typename Change>
void ExpectRefused(absl::string_view table, const Change& change, absl::StatusCode code,
                   absl::string_view text) {
  Entries entries = Table(table);
  const Entries before = entries;
  const absl::Status status = change(entries);
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_EQ(status.message(), text);
  EXPECT_EQ(entries, before);
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

struct Edited {
  absl::string_view section;
  Words options;

  absl::Status operator()(Entries& entries) const {
    return EditControls(section, options, entries);
  }
};

struct Made {
  absl::string_view section;
  Words options;

  absl::Status operator()(Entries& entries) const { return NewControls(section, options, entries); }
};

// The table after a change that succeeds, as its text.
template <typename Change>
std::string After(absl::string_view table, const Change& change) {
  Entries entries = Table(table);
  const absl::Status status = change(entries);
  EXPECT_TRUE(status.ok()) << status.message();
  const std::string text = WriteControlsFile(entries);
  EXPECT_EQ(Canonical(text), text);  // It is a table.
  return text;
}

constexpr absl::string_view kKind = "limit_type = host\nlimit_apply = system\n";

TEST(ControlsNew, AnEntryThatInheritsAll) {
  EXPECT_EQ(After("", Made{"a.example", {}}), Canonical("[a.example]\n"));
  EXPECT_EQ(After("[b.example]\n", Made{" .A.Example. ", {}}),
            Canonical("[b.example]\n[.a.example]\n"));
  EXPECT_EQ(After("", Made{"[192.0.2.1]", {}}), Canonical("[192.0.2.1]\n"));
  EXPECT_EQ(After("", Made{"2001:db8::1", {}}), Canonical("[2001:db8::1]\n"));
}

TEST(ControlsNew, BothSpellingsInAnyCase) {
  const std::string expected = Canonical(
      absl::StrCat("[a.example]\nmax_host_concurrency = 20\nmax_messages_per_connection = 5\n"
                   "recipient_limit = 180\nrecipient_minutes = 1\ntable_tls = required\n"
                   "bounce_validation = off\n",
                   kKind));
  EXPECT_EQ(After("", Made{"a.example",
                           {"concurrency_limit=20", "CONCURRENCY_LIMIT_TYPE=Host",
                            "concurrency_limit_apply=SYSTEM", "max_messages_per_connection=5",
                            "recipient_limit_minutes=1", "recipient_limit=180", "use_tls=require",
                            "bounce_profile=Default", "bounce_verification=OFF"}}),
            expected);
  EXPECT_EQ(After("", Made{"a.example",
                           {"Max_Host_Concurrency = 20", "limit_type=0", "limit_apply=0",
                            "max_messages_per_connection=5", "recipient_minutes=1",
                            "recipient_limit=180", "table_tls=2", "bounce_validation=0"}}),
            expected);
}

// The appliance's dialogue offers host, system and 60 minutes.
TEST(ControlsNew, WhatTheDialogueFillsIn) {
  EXPECT_EQ(After("", Made{"a.example", {"concurrency_limit=1"}}),
            Canonical(absl::StrCat("[a.example]\nmax_host_concurrency = 1\n", kKind)));
  EXPECT_EQ(
      After("", Made{"a.example", {"recipient_limit=0"}}),
      Canonical(absl::StrCat("[a.example]\nrecipient_limit = 0\nrecipient_minutes = 60\n", kKind)));
}

// The file demands what the default would give.
TEST(ControlsNew, ALimitAloneIsOfTheKindOfTheDefault) {
  const std::string by_default = "[DEFAULT]\nlimit_type = MXIP\nlimit_apply = VG\n";
  const auto of = [&](absl::string_view section) {
    return Canonical(absl::StrCat(by_default, "[a.example]\n", section));
  };
  EXPECT_EQ(After(by_default, Made{"a.example", {"concurrency_limit=1"}}),
            of("max_host_concurrency = 1\nlimit_type = MXIP\nlimit_apply = VG\n"));
  EXPECT_EQ(After(by_default, Made{"a.example", {"recipient_limit=1", "limit_type=host"}}),
            of("recipient_limit = 1\nrecipient_minutes = 60\nlimit_type = host\n"
               "limit_apply = VG\n"));
  // What needs no kind brings none.
  EXPECT_EQ(After(by_default, Made{"a.example", {"system_concurrency=1"}}),
            of("system_concurrency = 1\n"));
  EXPECT_EQ(After(by_default, Made{"a.example", {"max_messages_per_connection=1"}}),
            of("max_messages_per_connection = 1\n"));
  EXPECT_EQ(After("", Edited{"DEFAULT", {"concurrency_limit=1"}}),
            Canonical("[DEFAULT]\nmax_host_concurrency = 1\n"));
}

TEST(ControlsNew, ScopesWholesAndBounces) {
  const std::string expected = Canonical(
      "[a.example]\nmax_host_concurrency = 20\nlimit_type = MXIP\nlimit_apply = VG\n"
      "system_concurrency = 90\nsystem_recipient_limit = 9\nsystem_recipient_minutes = 60\n"
      "bounce_validation = on\nbounce_profile = Slow\n");
  EXPECT_EQ(After("", Made{"a.example",
                           {"concurrency_limit=20", "concurrency_limit_type=mxip",
                            "Concurrency_Limit_Apply=vg", "SYSTEM_concurrency=90",
                            "system_recipient_limit=9", "bounce_verification=On",
                            "bounce_profile=Slow"}}),
            expected);
  EXPECT_EQ(After("", Made{"a.example",
                           {"max_host_concurrency=20", "limit_type=1", "limit_apply=1",
                            "system_concurrency=90", "system_recipient_limit=9",
                            "system_recipient_minutes=60", "bounce_validation=1",
                            "bounce_profile=Slow"}}),
            expected);
}

TEST(ControlsNew, WhatExistsIsRefused) {
  const auto exists = absl::StatusCode::kAlreadyExists;
  ExpectRefused("[a.example]\n", Made{"A.EXAMPLE.", {"use_tls=on"}}, exists,
                "there is an entry for a.example: use edit");
  ExpectRefused("[192.0.2.1]\n", Made{"[192.0.2.1]", {}}, exists,
                "there is an entry for 192.0.2.1: use edit");
  ExpectRefused("", Made{"Default", {}}, exists, "the default always exists: use edit");
  ExpectRefused("[DEFAULT]\n", Made{"DEFAULT", {}}, exists, "the default always exists: use edit");
  EXPECT_EQ(After("[a.example]\n", Made{".a.example", {}}),
            Canonical("[a.example]\n[.a.example]\n"));
}

TEST(ControlsNew, WhatIsNoDomainIsRefused) {
  ExpectRefused("", Made{"all", {}}, kInvalid,
                "domain \"all\": the controls of all other domains are in [DEFAULT]");
  ExpectRefused("", Made{"", {}}, kInvalid, "domain \"\": the domain is empty");
  ExpectRefused("", Made{"a..example", {}}, kInvalid,
                "domain \"a..example\": the domain has an empty label");
  ExpectRefused("", Made{".192.0.2.1]", {}}, kInvalid,
                "domain \".192.0.2.1]\": the domain has a character that is not a letter, digit, "
                "'-' or '_'");
}

constexpr absl::string_view kExtendedAllows =
    "; profile = \"extended\" in [destinations] of sluice.toml allows up to 1000000";

// Of both commands, at each bound and one over.
TEST(ControlsOptions, Ranges) {
  const struct {
    const char* name;
    uint64_t min, max;
    Words others;
  } kRows[] = {
      {"concurrency_limit", 1, 1000, {}},
      {"max_host_concurrency", 1, 1000, {}},
      {"max_messages_per_connection", 1, 1000, {}},
      {"recipient_limit_minutes", 1, 60, {"recipient_limit=5"}},
      {"recipient_minutes", 1, 60, {"recipient_limit=5"}},
      {"recipient_limit", 0, 1'000'000'000, {}},
      {"system_concurrency", 1, 1000, {}},
      {"system_recipient_minutes", 1, 60, {"system_recipient_limit=5"}},
      {"system_recipient_limit", 0, 1'000'000'000, {}},
  };
  const absl::string_view table = "[a.example]\ntls_sni = off\n";
  for (const auto& row : kRows) {
    const auto with = [&row](absl::string_view value) {
      Words options = row.others;
      options.push_back(absl::StrCat(row.name, "=", value));
      return options;
    };
    for (const uint64_t value : {row.min, row.max}) {
      Entries entries = Table(table);
      EXPECT_TRUE(EditControls("a.example", with(absl::StrCat(value)), entries).ok()) << row.name;
      EXPECT_TRUE(NewControls("b.example", with(absl::StrCat(value)), entries).ok()) << row.name;
      EXPECT_TRUE(EditControls("DEFAULT", with(absl::StrCat(value)), entries).ok()) << row.name;
    }
    Words refused = {absl::StrCat(row.max + 1), "-1", "1.5", "many", "99999999999999999999"};
    if (row.min > 0) refused.push_back(absl::StrCat(row.min - 1));
    for (const std::string& value : refused) {
      const bool lifted = row.max == 1000 && value != "0" &&
                          value.find_first_not_of("0123456789") == std::string::npos;
      const std::string text =
          absl::StrCat(row.name, " = \"", value, "\": must be a whole number from ", row.min,
                       " to ", row.max, lifted ? kExtendedAllows : "");
      ExpectRefused(table, Edited{"a.example", with(value)}, kInvalid, text);
      ExpectRefused(table, Made{"b.example", with(value)}, kInvalid, text);
      ExpectRefused(table, Edited{"DEFAULT", with(value)}, kInvalid, text);
    }
  }
}

// What the extended profile lifts, and what it does not.
TEST(ControlsOptions, RangesOfTheExtendedProfile) {
  const struct {
    const char* name;
    uint64_t max, extended_max;
    Words others;
  } kRows[] = {
      {"concurrency_limit", 1000, 1'000'000, {}},
      {"max_host_concurrency", 1000, 1'000'000, {}},
      {"max_messages_per_connection", 1000, 1'000'000, {}},
      {"system_concurrency", 1000, 1'000'000, {}},
      {"recipient_limit", 1'000'000'000, 1'000'000'000, {}},
      {"system_recipient_limit", 1'000'000'000, 1'000'000'000, {}},
      {"recipient_minutes", 60, 60, {"recipient_limit=5"}},
      {"system_recipient_minutes", 60, 60, {"system_recipient_limit=5"}},
  };
  for (const auto& row : kRows) {
    const auto outcome = [&](uint64_t value, ControlsProfile profile) {
      Words options = row.others;
      options.push_back(absl::StrCat(row.name, "=", value));
      Entries entries = Table("[a.example]\n");
      const absl::Status edited = EditControls("a.example", options, entries, profile);
      EXPECT_EQ(NewControls("b.example", options, entries, profile), edited);
      return edited;
    };
    const std::string range =
        absl::StrCat(row.name, " = \"", row.max + 1, "\": must be a whole number from ");
    EXPECT_TRUE(outcome(row.extended_max, ControlsProfile::kExtended).ok()) << row.name;
    const absl::Status beyond = outcome(row.extended_max + 1, ControlsProfile::kExtended);
    EXPECT_TRUE(absl::EndsWith(beyond.message(), absl::StrCat(" to ", row.extended_max)));
    const absl::Status over = outcome(row.max + 1, ControlsProfile::kCompatible);
    EXPECT_EQ(absl::StrContains(over.message(), "profile = \"extended\""),
              row.extended_max > row.max)
        << over.message();
    EXPECT_TRUE(absl::StartsWith(over.message(), range)) << over.message();
  }
  // What is too little is so in both.
  ExpectRefused("", Made{"a.example", {"concurrency_limit=0"}}, kInvalid,
                "concurrency_limit = \"0\": must be a whole number from 1 to 1000");
}

TEST(ControlsOptions, AllErrorsAtOnce) {
  ExpectRefused(
      "[a.example]\ntls_sni = off\n",
      Edited{
          "a.example",
          {"concurrency_limit=0", "hello", "colour=blue", "tls_sni=on", "use_tls=", "TABLE_TLS=on",
           "send_tls_req_alert=on", "dane_option=Mandatory", "Recipient_Limit_Minutes=61",
           "concurrency_limit_type=VG", "bounce_verification=yes", "system_recipient_minutes=61"}},
      kInvalid,
      "concurrency_limit = \"0\": must be a whole number from 1 to 1000\n"
      "\"hello\" is not name=value\n"
      "there is no option \"colour\"\n"
      "use_tls = \"\": the value is missing\n"
      "table_tls is given twice\n"
      "send_tls_req_alert may stand in [DEFAULT] only\n"
      "dane_option = \"Mandatory\": this version does not enforce it; leave it out or write none\n"
      "recipient_limit_minutes = \"61\": must be a whole number from 1 to 60\n"
      "concurrency_limit_type = \"VG\": must be one of host, 0, MXIP, 1\n"
      "bounce_verification = \"yes\": must be one of off, 0, on, 1\n"
      "system_recipient_minutes = \"61\": must be a whole number from 1 to 60\n"
      "recipient_minutes needs recipient_limit, a whole number from 0 to 1000000000\n"
      "system_recipient_minutes needs system_recipient_limit, a whole number from 0 to 1000000000");
}

TEST(ControlsOptions, WordsThatAreNone) {
  ExpectRefused("", Made{"a.example", {"use_tls=maybe"}}, kInvalid,
                "use_tls = \"maybe\": must be one of off, on, required, on_verify, require_verify, "
                "require_verify_hosted, or its number from 0 to 5");
  ExpectRefused("", Made{"a.example", {"IP_sort_pref=v4"}}, kInvalid,
                "ip_sort_pref = \"v4\": must be one of PREFER_V6, REQUIRE_V6, PREFER_V4, "
                "REQUIRE_V4");
  ExpectRefused("", Made{"a.example", {"limit_apply=all"}}, kInvalid,
                "limit_apply = \"all\": must be one of system, 0, VG, 1");
  ExpectRefused("", Edited{"default", {"bounce_profile=default"}}, kInvalid,
                "bounce_profile may not stand in [DEFAULT]");
  ExpectRefused("", Made{"a.example", {"=5"}}, kInvalid, "there is no option \"\"");
}

// What the file would read as a comment, or not at all.
TEST(ControlsOptions, NamesThatTheFileCannotHold) {
  for (const char* name : {"#ours", ";ours", "mta #2", "mta ;2"}) {
    ExpectRefused("", Made{"a.example", {absl::StrCat("certificate=", name)}}, kInvalid,
                  absl::StrCat("certificate = \"", name,
                               "\": must not begin a comment: '#' or ';' first or after a blank"));
  }
  ExpectRefused("", Made{"a.example", {"tls_ca_file=a\nb"}}, kInvalid,
                "tls_ca_file = \"a\\nb\": must not hold control characters");
  EXPECT_EQ(After("", Made{"a.example", {"certificate= mta#2=x "}}),
            Canonical("[a.example]\ncertificate = mta#2=x\n"));
}

constexpr absl::string_view kListed =
    "[DEFAULT]\ntable_tls = on\n"
    "[a.example]\nmax_host_concurrency = 20\nrecipient_limit = 180\nrecipient_minutes = 1\n"
    "limit_type = host\nlimit_apply = system\ntable_tls = on_verify\ntls_broken_memory = 1h\n";

TEST(ControlsEdit, GivenFieldsOnly) {
  EXPECT_EQ(After(kListed, Edited{"A.example", {"concurrency_limit=21", "tls_min=1.3"}}),
            Canonical("[DEFAULT]\ntable_tls = on\n"
                      "[a.example]\nmax_host_concurrency = 21\nrecipient_limit = 180\n"
                      "recipient_minutes = 1\nlimit_type = host\nlimit_apply = system\n"
                      "table_tls = on_verify\ntls_min = 1.3\ntls_broken_memory = 1h\n"));
  EXPECT_EQ(After(kListed, Edited{"a.example", {}}), Canonical(kListed));
}

TEST(ControlsEdit, DefaultMakesAFieldInherit) {
  EXPECT_EQ(After(kListed, Edited{"a.example",
                                  {"concurrency_limit=default", "use_tls=DEFAULT",
                                   "tls_broken_memory=default", "tls_sni=default",
                                   "bounce_profile=default", "limit_type=default"}}),
            Canonical(absl::StrCat("[DEFAULT]\ntable_tls = on\n[a.example]\nrecipient_limit = 180\n"
                                   "recipient_minutes = 1\n",
                                   kKind)));
  // A limit that goes on keeps a kind: the default's, since it must have one.
  EXPECT_EQ(After("[DEFAULT]\nlimit_apply = VG\n[a.example]\nmax_host_concurrency = 5\n"
                  "limit_type = MXIP\nlimit_apply = system\n",
                  Edited{"a.example", {"limit_type=default", "limit_apply=default"}}),
            Canonical("[DEFAULT]\nlimit_apply = VG\n[a.example]\nmax_host_concurrency = 5\n"
                      "limit_type = host\nlimit_apply = VG\n"));
  // Each key of an entry that gives all of them.
  const std::string all =
      "[a.example]\nmax_host_concurrency = 20\nlimit_type = 1\nlimit_apply = 1\n"
      "system_concurrency = 4\nsystem_recipient_limit = 3\nsystem_recipient_minutes = 2\n"
      "bounce_validation = 1\nbounce_profile = slow\n"
      "max_messages_per_connection = 5\nrecipient_limit = 6\nrecipient_minutes = 7\n"
      "ip_sort_pref = PREFER_V4\n"
      "table_tls = 1\ntls_min = 1.3\ntls_sni = 0\ntls_accept_cn = 1\ntls_broken_memory = 1h\n"
      "tls_ca_file = x\ncertificate = y\n";
  Words options;
  for (const char* name :
       {"max_host_concurrency", "max_messages_per_connection", "recipient_limit", "limit_type",
        "limit_apply", "system_concurrency", "system_recipient_limit", "bounce_validation",
        "bounce_profile", "ip_sort_pref", "table_tls", "tls_min", "tls_sni", "tls_accept_cn",
        "tls_broken_memory", "tls_ca_file", "certificate"}) {
    options.push_back(absl::StrCat(name, "=default"));
  }
  EXPECT_EQ(After(all, Edited{"a.example", options}), Canonical("[a.example]\n"));
}

// The limit and its minutes are one field.
TEST(ControlsEdit, ARecipientLimitAndItsMinutes) {
  const std::string limited = absl::StrCat(
      "[a.example]\nrecipient_limit = 180\n"
      "recipient_minutes = 1\n",
      kKind);
  const auto of = [](int limit, int period) {
    return Canonical(absl::StrCat("[a.example]\nrecipient_limit = ", limit,
                                  "\nrecipient_minutes = ", period, "\n", kKind));
  };
  const auto edit = [](Words options) { return Edited{"a.example", std::move(options)}; };
  EXPECT_EQ(After(limited, edit({"recipient_limit=9"})), of(9, 1));
  EXPECT_EQ(After(limited, edit({"recipient_limit_minutes=2"})), of(180, 2));
  EXPECT_EQ(After(limited, edit({"recipient_limit_minutes=default"})), of(180, 60));
  // What was said of the kind is still said.
  const std::string unlimited = Canonical(absl::StrCat("[a.example]\n", kKind));
  EXPECT_EQ(After(limited, edit({"recipient_limit=default"})), unlimited);
  EXPECT_EQ(After(limited, edit({"recipient_minutes=default", "recipient_limit=default"})),
            unlimited);
  EXPECT_EQ(After("[a.example]\n", edit({"recipient_limit=9"})), of(9, 60));
  EXPECT_EQ(After("[a.example]\n", edit({"recipient_minutes=3", "recipient_limit=9"})), of(9, 3));
  EXPECT_EQ(After("[a.example]\n", edit({"recipient_minutes=default"})),
            Canonical("[a.example]\n"));
  const absl::string_view alone =
      "recipient_minutes needs recipient_limit, a whole number from 0 to 1000000000";
  ExpectRefused("[a.example]\n", edit({"recipient_minutes=3"}), kInvalid, alone);
  ExpectRefused(limited, edit({"recipient_limit=default", "recipient_minutes=3"}), kInvalid, alone);
}

TEST(ControlsEdit, TheRecipientLimitOfTheWholeAndItsMinutes) {
  const std::string limited =
      "[a.example]\nsystem_recipient_limit = 180\nsystem_recipient_minutes = 1\n";
  const auto of = [](int limit, int period) {
    return Canonical(absl::StrCat("[a.example]\nsystem_recipient_limit = ", limit,
                                  "\nsystem_recipient_minutes = ", period, "\n"));
  };
  const auto edit = [](Words options) { return Edited{"a.example", std::move(options)}; };
  EXPECT_EQ(After(limited, edit({"system_recipient_limit=9"})), of(9, 1));
  EXPECT_EQ(After(limited, edit({"system_recipient_minutes=2"})), of(180, 2));
  EXPECT_EQ(After(limited, edit({"system_recipient_minutes=default"})), of(180, 60));
  EXPECT_EQ(After(limited, edit({"system_recipient_limit=default"})), Canonical("[a.example]\n"));
  EXPECT_EQ(After("[a.example]\n", edit({"system_recipient_limit=9"})), of(9, 60));
  const absl::string_view alone =
      "system_recipient_minutes needs system_recipient_limit, a whole number from 0 to 1000000000";
  ExpectRefused("[a.example]\n", edit({"system_recipient_minutes=3"}), kInvalid, alone);
  ExpectRefused(limited, edit({"system_recipient_limit=default", "system_recipient_minutes=3"}),
                kInvalid, alone);
}

TEST(ControlsEdit, ABounceProfile) {
  EXPECT_EQ(After("[a.example]\nbounce_profile = slow\n",
                  Edited{"a.example", {"bounce_profile=Fast one"}}),
            Canonical("[a.example]\nbounce_profile = Fast one\n"));
  EXPECT_EQ(After("[a.example]\nbounce_profile = slow\n",
                  Edited{"a.example", {"bounce_profile=DEFAULT"}}),
            Canonical("[a.example]\n"));
  ExpectRefused("", Edited{"default", {"bounce_profile=slow"}}, kInvalid,
                "bounce_profile may not stand in [DEFAULT]");
}

TEST(ControlsEdit, WhatIsNotThereIsRefused) {
  ExpectRefused("[.b.example]\n", Edited{"a.b.example", {}}, absl::StatusCode::kNotFound,
                "there is no entry for a.b.example: use new");
  ExpectRefused("", Edited{"a b", {}}, kInvalid,
                "domain \"a b\": the domain has a character that is not a letter, digit, '-' or "
                "'_'");
}

TEST(ControlsEdit, TheDefault) {
  EXPECT_EQ(After("[a.example]\n", Edited{"DEFAULT", {"send_tls_req_alert=on"}}),
            Canonical("[DEFAULT]\nsend_tls_req_alert = on\n[a.example]\n"));
  EXPECT_EQ(After(kListed, Edited{"default", {"concurrency_limit=1000", "use_tls=default"}}),
            Canonical(std::string("[DEFAULT]\nmax_host_concurrency = 1000\n") +
                      std::string(kListed.substr(kListed.find("[a.example]")))));
  ExpectRefused("", Edited{"default", {"concurrency_limit=1001"}}, kInvalid,
                absl::StrCat("concurrency_limit = \"1001\": must be a whole number from 1 to 1000",
                             kExtendedAllows));
}

// A memory of broken TLS is for the levels that prefer TLS, its own or the default's.
TEST(ControlsEdit, AMemoryThatWouldNotBeHeeded) {
  const std::string why =
      "tls_broken_memory is for table_tls = on or on_verify, and not for required, which holds "
      "here";
  ExpectRefused(kListed, Edited{"a.example", {"use_tls=require"}}, kInvalid, "a.example: " + why);
  EXPECT_NE(After(kListed, Edited{"a.example", {"use_tls=require", "tls_broken_memory=default"}}),
            "");
  EXPECT_NE(After(kListed, Edited{"a.example", {"use_tls=require", "tls_broken_memory=0"}}), "");
  ExpectRefused("", Made{"a.example", {"tls_broken_memory=1h"}}, kInvalid,
                "a.example: tls_broken_memory is for table_tls = on or on_verify, and not for off, "
                "which holds here");
  // The default's level is others' level, too.
  const absl::string_view inherited =
      "[DEFAULT]\ntable_tls = on\n[a.example]\ntls_broken_memory = 1h\n"
      "[.b.example]\ntls_broken_memory = 30m\n[c.example]\ntls_broken_memory = 1h\ntable_tls = 1\n";
  ExpectRefused(inherited, Edited{"default", {"use_tls=require"}}, kInvalid,
                absl::StrCat("a.example: ", why, "\n.b.example: ", why));
  EXPECT_NE(After(inherited, Edited{"default", {"use_tls=on_verify"}}), "");
}

TEST(ControlsDelete, AnEntry) {
  const auto deleted = [](absl::string_view section) {
    return [section](Entries& entries) { return DeleteControls(section, entries); };
  };
  EXPECT_EQ(After("[a.example]\n[.a.example]\n[b.example]\n", deleted("A.EXAMPLE")),
            Canonical("[.a.example]\n[b.example]\n"));
  EXPECT_EQ(After("[2001:db8::1]\n", deleted("[IPv6:2001:DB8::1]")), Canonical(""));
  ExpectRefused("[.b.example]\n", deleted("a.b.example"), absl::StatusCode::kNotFound,
                "there is no entry for a.b.example");
  ExpectRefused("[DEFAULT]\n", deleted("default"), kInvalid,
                "the default cannot be deleted: use edit");
  ExpectRefused("", deleted("default"), kInvalid, "the default cannot be deleted: use edit");
  ExpectRefused("", deleted("*"), kInvalid,
                "domain \"*\": the domain has a character that is not a letter, digit, '-' or '_'");
}

TEST(ControlsClear, AllButTheDefault) {
  Entries entries = Table("[a.example]\n[DEFAULT]\ntable_tls = on\n[.b.example]\n");
  ClearControls(entries);
  EXPECT_EQ(WriteControlsFile(entries), Canonical("[DEFAULT]\ntable_tls = on\n"));
  ClearControls(entries);
  EXPECT_EQ(WriteControlsFile(entries), Canonical("[DEFAULT]\ntable_tls = on\n"));
}

// The table after an import that succeeds, as its text.
std::string Imported(absl::string_view table, absl::string_view text, ImportMode mode) {
  Entries entries = Table(table);
  for (const FileError& error : ImportControls(text, mode, entries)) {
    ADD_FAILURE() << error.line << ": " << error.text;
  }
  return WriteControlsFile(entries);
}

// "line: text" of an import that is refused and has changed nothing.
Words ImportErrors(absl::string_view table, absl::string_view text, ImportMode mode) {
  Entries entries = Table(table);
  const Entries before = entries;
  Words errors;
  for (const FileError& error : ImportControls(text, mode, entries)) {
    errors.push_back(absl::StrCat(error.line, ": ", error.text));
  }
  EXPECT_FALSE(errors.empty());
  EXPECT_EQ(entries, before);
  return errors;
}

constexpr absl::string_view kOld =
    "[DEFAULT]\ntable_tls = on\n[a.example]\ntls_sni = off\n[b.example]\ntls_min = 1.3\n";

TEST(ControlsImport, ReplaceKeepsOnlyADefaultThatTheFileLacks) {
  EXPECT_EQ(Imported(kOld, "[c.example]\n", ImportMode::kReplace),
            Canonical("[DEFAULT]\ntable_tls = on\n[c.example]\n"));
  EXPECT_EQ(Imported(kOld, "[c.example]\n[DEFAULT]\ntls_min = 1.3\n", ImportMode::kReplace),
            Canonical("[DEFAULT]\ntls_min = 1.3\n[c.example]\n"));
  EXPECT_EQ(Imported(kOld, "", ImportMode::kReplace), Canonical("[DEFAULT]\ntable_tls = on\n"));
  EXPECT_EQ(Imported("[a.example]\n", "[c.example]\n", ImportMode::kReplace),
            Canonical("[c.example]\n"));
}

TEST(ControlsImport, MergeReplacesSectionsOfTheSameNameWhole) {
  EXPECT_EQ(Imported(kOld, "[c.example]\n[A.Example]\ntls_min = 1.2\n", ImportMode::kMerge),
            Canonical("[DEFAULT]\ntable_tls = on\n[a.example]\ntls_min = 1.2\n"
                      "[b.example]\ntls_min = 1.3\n[c.example]\n"));
  EXPECT_EQ(Imported(kOld, "[DEFAULT]\ntls_min = 1.3\n", ImportMode::kMerge),
            Canonical("[DEFAULT]\ntls_min = 1.3\n[a.example]\ntls_sni = off\n"
                      "[b.example]\ntls_min = 1.3\n"));
  EXPECT_EQ(Imported(kOld, "", ImportMode::kMerge), Canonical(kOld));
}

TEST(ControlsImport, AnExportIsImportedAsItWas) {
  for (const ImportMode mode : {ImportMode::kReplace, ImportMode::kMerge}) {
    EXPECT_EQ(Imported(kListed, Canonical(kListed), mode), Canonical(kListed));
    EXPECT_EQ(Imported("", Canonical(kListed), mode), Canonical(kListed));
  }
}

TEST(ControlsImport, UnderTheProfile) {
  const absl::string_view file = "[DEFAULT]\nmax_host_concurrency = 1001\n";
  for (const ImportMode mode : {ImportMode::kReplace, ImportMode::kMerge}) {
    EXPECT_EQ(ImportErrors("", file, mode).size(), 1u);
    Entries entries;
    EXPECT_TRUE(ImportControls(file, mode, entries, ControlsProfile::kExtended).empty());
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].connections_max, 1001u);
  }
}

TEST(ControlsImport, OneErrorRefusesTheWholeFile) {
  for (const ImportMode mode : {ImportMode::kReplace, ImportMode::kMerge}) {
    EXPECT_EQ(
        ImportErrors(kOld,
                     "[c.example]\n[DEFAULT]\nmax_host_concurrency = 1001\n"
                     "[d.example]\nmax_host_concurrency = 1\n",
                     mode),
        (Words{absl::StrCat(
                   "3: max_host_concurrency = \"1001\": must be a whole number from 1 to 1000",
                   kExtendedAllows),
               "4: the section gives max_host_concurrency and so must give limit_type",
               "4: the section gives max_host_concurrency and so must give limit_apply"}));
  }
}

// A section is read under the default that it will have.
TEST(ControlsImport, AMemoryUnderTheDefaultThatGoesOn) {
  const absl::string_view memory = "[c.example]\ntls_broken_memory = 1h\n";
  for (const ImportMode mode : {ImportMode::kReplace, ImportMode::kMerge}) {
    EXPECT_NE(Imported("[DEFAULT]\ntable_tls = on\n", memory, mode), "");
    EXPECT_EQ(ImportErrors("[DEFAULT]\ntable_tls = required\n", memory, mode),
              (Words{"2: tls_broken_memory is for table_tls = on or on_verify, and not for "
                     "required, which holds here"}));
    EXPECT_EQ(ImportErrors("", memory, mode).size(), 1u);
    // The file's own default counts, also where it does not say a level.
    EXPECT_EQ(ImportErrors("[DEFAULT]\ntable_tls = on\n", absl::StrCat(memory, "[DEFAULT]\n"), mode)
                  .size(),
              1u);
  }
}

TEST(ControlsImport, AMemoryThatGoesOnUnderANewDefault) {
  const absl::string_view table =
      "[DEFAULT]\ntable_tls = on\n[a.example]\ntls_broken_memory = 1h\n"
      "[b.example]\ntls_broken_memory = 1h\n";
  const absl::string_view file = "[b.example]\n\n[DEFAULT]\ntable_tls = off\n";
  EXPECT_EQ(ImportErrors(table, file, ImportMode::kMerge),
            (Words{"3: a.example: tls_broken_memory is for table_tls = on or on_verify, and not "
                   "for off, which holds here"}));
  EXPECT_EQ(Imported(table, file, ImportMode::kReplace),
            Canonical("[DEFAULT]\ntable_tls = off\n[b.example]\n"));
}

}  // namespace
}  // namespace sluice::policy
