// The keys of destinations.ini that are about TLS: what each takes and refuses, where it may stand,
// and what a destination inherits. Numbers and words of the appliance's keys are the appliance's.

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "policy/controls_file.h"
#include "policy/controls_table.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::vector<std::string> Errors(absl::string_view text) {
  std::vector<std::string> errors;
  for (const FileError& error : ParseControlsFile(text).errors) {
    errors.push_back(absl::StrCat(error.line, ": ", error.text));
  }
  return errors;
}

// What the file `text` says of `domain`.
TlsControls Of(absl::string_view domain, absl::string_view text) {
  const ParsedControls parsed = ParseControlsFile(text);
  EXPECT_TRUE(parsed.errors.empty()) << absl::StrJoin(Errors(text), "\n");
  return ControlsTable(parsed.entries).Lookup(domain).tls;
}

// What one line in a section of a.example says of it.
TlsControls Says(absl::string_view line) {
  return Of("a.example", absl::StrCat("[a.example]\n", line, "\n"));
}

// It is refused in its own line, once; the text of why.
std::string Refused(absl::string_view line, absl::string_view section = "a.example") {
  const std::vector<std::string> errors = Errors(absl::StrCat("[", section, "]\n", line, "\n"));
  EXPECT_EQ(errors.size(), 1u) << line;
  if (errors.empty()) return "";
  EXPECT_TRUE(absl::StartsWith(errors[0], "2: ")) << errors[0];
  return errors[0].substr(3);
}

TEST(ControlsTls, WithoutAnyKeyTlsIsOff) {
  const TlsControls tls = Of("a.example", "[DEFAULT]\n");
  EXPECT_EQ(tls.level, TlsLevel::kOff);
  EXPECT_EQ(tls.version_min, TlsVersion::k12);
  EXPECT_TRUE(tls.sni);
  EXPECT_FALSE(tls.accept_cn);
  EXPECT_FALSE(tls.alert_where_required_fails);
  EXPECT_EQ(tls.broken_memory, Duration::zero());
  EXPECT_EQ(tls.ca_file, "");
  EXPECT_EQ(tls.certificate, "");
}

TEST(ControlsTls, LevelsByNumberAndWordUnderBothNames) {
  const struct {
    TlsLevel level;
    std::vector<const char*> values;
  } kRows[] = {
      {TlsLevel::kOff, {"0", "off", "OFF"}},
      {TlsLevel::kOn, {"1", "on", "On"}},
      {TlsLevel::kRequired, {"2", "required", "require", "REQUIRE"}},
      {TlsLevel::kOnVerify, {"3", "on_verify", "ON_VERIFY"}},
      {TlsLevel::kRequireVerify, {"4", "require_verify", "Require_Verify"}},
      {TlsLevel::kRequireVerifyHosted, {"5", "require_verify_hosted"}},
  };
  for (const auto& row : kRows) {
    for (const char* value : row.values) {
      EXPECT_EQ(Says(absl::StrCat("table_tls = ", value)).level, row.level) << value;
      EXPECT_EQ(Says(absl::StrCat("use_tls = ", value)).level, row.level) << value;
    }
  }
  for (const char* value : {"6", "-1", "01", "yes", "preferred", "on_verify_hosted", "off on"}) {
    Refused(absl::StrCat("table_tls = ", value));
  }
  EXPECT_EQ(Refused("table_tls ="), "table_tls = \"\": the value is missing");
  EXPECT_EQ(Refused("use_tls = tls"),
            "table_tls = \"tls\": must be one of off, on, required, on_verify, require_verify, "
            "require_verify_hosted, or its number from 0 to 5");
}

TEST(ControlsTls, TheLevelDefaultIsAsLeftOut) {
  EXPECT_EQ(Of("a.example", "[DEFAULT]\ntable_tls = 4\n[a.example]\ntable_tls = Default\n").level,
            TlsLevel::kRequireVerify);
  EXPECT_EQ(Says("table_tls = default").level, TlsLevel::kOff);
  EXPECT_EQ(Refused("table_tls = default", "DEFAULT"),
            "table_tls: there is nothing to inherit in [DEFAULT]; leave it out");
}

TEST(ControlsTls, Versions) {
  EXPECT_EQ(Says("tls_min = 1.2").version_min, TlsVersion::k12);
  EXPECT_EQ(Says("tls_min = 1.3").version_min, TlsVersion::k13);
  for (const char* value : {"1.1", "1.0", "1", "1.4", "13", "TLSv1.3", "1.2.0", "1,3", ""}) {
    Refused(absl::StrCat("tls_min = ", value));
  }
}

TEST(ControlsTls, Switches) {
  for (const char* value : {"on", "ON", "1"}) {
    EXPECT_TRUE(Says(absl::StrCat("tls_sni = ", value)).sni);
    EXPECT_TRUE(Says(absl::StrCat("tls_accept_cn = ", value)).accept_cn);
    const std::string alert = absl::StrCat("[DEFAULT]\nsend_tls_req_alert = ", value, "\n");
    EXPECT_TRUE(Of("a.example", alert).alert_where_required_fails);
  }
  for (const char* value : {"off", "Off", "0"}) {
    EXPECT_FALSE(Says(absl::StrCat("tls_sni = ", value)).sni);
    EXPECT_FALSE(Says(absl::StrCat("tls_accept_cn = ", value)).accept_cn);
    const std::string alert = absl::StrCat("[DEFAULT]\nsend_tls_req_alert = ", value, "\n");
    EXPECT_FALSE(Of("a.example", alert).alert_where_required_fails);
  }
  for (const char* value : {"", "2", "yes", "true", "default", "00"}) {
    Refused(absl::StrCat("tls_sni = ", value));
    Refused(absl::StrCat("tls_accept_cn = ", value));
    Refused(absl::StrCat("send_tls_req_alert = ", value), "DEFAULT");
  }
}

TEST(ControlsTls, TheAlertIsForTheWholeTable) {
  EXPECT_EQ(Refused("send_tls_req_alert = on"), "send_tls_req_alert may stand in [DEFAULT] only");
  EXPECT_TRUE(Of("a.example", "[DEFAULT]\nsend_tls_req_alert = on\n[a.example]\ntable_tls = 2\n")
                  .alert_where_required_fails);
}

TEST(ControlsTls, NamesOfFilesAndCertificatesAreKeptAsTheyStand) {
  EXPECT_EQ(Says("tls_ca_file = ca/Private CA=1.pem").ca_file, "ca/Private CA=1.pem");
  EXPECT_EQ(Says("tls_ca_file: /etc/ca.pem ; ours").ca_file, "/etc/ca.pem");
  EXPECT_EQ(Says("tls_ca_file = a#b").ca_file, "a#b");
  EXPECT_EQ(Says("certificate = Mta-2026").certificate, "Mta-2026");
  EXPECT_EQ(Says(absl::StrCat("certificate = ", std::string(4095, 'x'))).certificate.size(), 4095u);
  for (const std::string key : {"tls_ca_file", "certificate"}) {
    Refused(absl::StrCat(key, " ="));
    Refused(absl::StrCat(key, " = a\tb"));
    Refused(absl::StrCat(key, " = a", absl::string_view("\0", 1), "b"));
    Refused(absl::StrCat(key, " = ", std::string(4096, 'x')));
  }
}

TEST(ControlsTls, BrokenMemoriesAreTimesUpToSevenDays) {
  const auto says = [](absl::string_view value) {
    return Says(absl::StrCat("table_tls = on\ntls_broken_memory = ", value)).broken_memory;
  };
  EXPECT_EQ(says("0"), Duration::zero());
  EXPECT_EQ(says("0h"), Duration::zero());
  EXPECT_EQ(says("1s"), seconds(1));
  EXPECT_EQ(says("90s"), seconds(90));
  EXPECT_EQ(says("30m"), minutes(30));
  EXPECT_EQ(says("1h"), hours(1));
  EXPECT_EQ(says("1H"), hours(1));
  EXPECT_EQ(says("007h"), hours(7));
  for (const char* value : {"7d", "168h", "10080m", "604800s"}) EXPECT_EQ(says(value), hours(168));
  for (const char* value :
       {"", "1", "60", "h", "1 h", "1h30m", "-1h", "+1h", "1.5h", "1w", "1ms", "forever", "8d",
        "169h", "10081m", "604801s", "999999d", "99999999999999999999s", "213503982334602d"}) {
    const std::vector<std::string> errors =
        Errors(absl::StrCat("[a.example]\ntable_tls = on\ntls_broken_memory = ", value, "\n"));
    ASSERT_EQ(errors.size(), 1u) << value;
    EXPECT_TRUE(absl::StartsWith(errors[0], "3: tls_broken_memory = ")) << errors[0];
  }
}

// The levels that only prefer TLS are on (1) and on_verify (3).
TEST(ControlsTls, ABrokenMemoryIsForLevelsThatPreferTls) {
  for (const char* level : {"0", "1", "2", "3", "4", "5"}) {
    const bool legal = *level == '1' || *level == '3';
    const std::string own =
        absl::StrCat("[a.example]\ntls_broken_memory = 1h\ntable_tls = ", level, "\n");
    const std::string inherited = absl::StrCat("[a.example]\n\ntls_broken_memory = 1h\n",
                                               "[DEFAULT]\ntable_tls = ", level, "\n");
    const std::string in_default =
        absl::StrCat("[DEFAULT]\ntable_tls = ", level, "\ntls_broken_memory = 1h\n");
    EXPECT_EQ(Errors(own).empty(), legal) << level;
    EXPECT_EQ(Errors(inherited).empty(), legal) << level;
    EXPECT_EQ(Errors(in_default).empty(), legal) << level;
    const std::string none =
        absl::StrCat("[a.example]\ntable_tls = ", level, "\ntls_broken_memory = 0\n");
    EXPECT_TRUE(Errors(none).empty()) << level;
  }
  EXPECT_EQ(Errors("[a.example]\ntable_tls = 2\ntls_broken_memory = 1h\n"),
            std::vector<std::string>{"3: tls_broken_memory is for table_tls = on or on_verify, and "
                                     "not for required, which holds here"});
  // Nobody says a level: it is off.
  EXPECT_EQ(Errors("[a.example]\ntls_broken_memory = 1h\n").size(), 1u);
  // By name the same level as the default's, and the default's last.
  EXPECT_TRUE(Errors("[a.example]\ntable_tls = default\ntls_broken_memory = 1h\n"
                     "[DEFAULT]\ntable_tls = on\n")
                  .empty());
}

TEST(ControlsTls, ALevelInErrorIsTheOnlyErrorOfItsMemories) {
  EXPECT_EQ(Errors("[a.example]\ntable_tls = 9\ntls_broken_memory = 1h\n").size(), 1u);
  EXPECT_EQ(Errors("[DEFAULT]\ntable_tls = 9\n[a.example]\ntls_broken_memory = 1h\n").size(), 1u);
  // Of two defaults the first counts, and the second is the error.
  EXPECT_EQ(Errors("[DEFAULT]\ntable_tls = on\n[a.example]\ntls_broken_memory = 1h\n"
                   "[DEFAULT]\ntable_tls = 2\n")
                .size(),
            1u);
}

TEST(ControlsTls, AMemoryThatIsInheritedByALevelThatRequiresTlsIsNone) {
  const absl::string_view text =
      "[DEFAULT]\ntable_tls = on\ntls_broken_memory = 1h\n"
      "[required.example]\ntable_tls = required\n"
      "[off.example]\ntable_tls = off\n"
      "[verify.example]\ntable_tls = on_verify\n"
      "[own.example]\ntls_broken_memory = 5m\n";
  EXPECT_EQ(Of("else.example", text).broken_memory, hours(1));
  EXPECT_EQ(Of("required.example", text).broken_memory, Duration::zero());
  EXPECT_EQ(Of("off.example", text).broken_memory, Duration::zero());
  EXPECT_EQ(Of("verify.example", text).broken_memory, hours(1));
  EXPECT_EQ(Of("own.example", text).broken_memory, minutes(5));
}

// Each field alone, from a default that has none of the factory values.
TEST(ControlsTls, AFieldThatIsLeftOutIsTheDefaults) {
  const std::string text =
      "[DEFAULT]\ntable_tls = on_verify\ntls_min = 1.3\ntls_sni = off\ntls_accept_cn = on\n"
      "tls_broken_memory = 1h\ntls_ca_file = ca.pem\ncertificate = mta\nsend_tls_req_alert = on\n"
      "[a.example]\n";
  const TlsControls by_default{.level = TlsLevel::kOnVerify,
                               .version_min = TlsVersion::k13,
                               .sni = false,
                               .accept_cn = true,
                               .alert_where_required_fails = true,
                               .broken_memory = hours(1),
                               .ca_file = "ca.pem",
                               .certificate = "mta"};
  EXPECT_EQ(Of("else.example", text), by_default);
  EXPECT_EQ(Of("a.example", text), by_default);

  const auto with = [&](absl::string_view line) { return Of("a.example", text + line.data()); };
  TlsControls expected = by_default;
  expected.level = TlsLevel::kOn;
  EXPECT_EQ(with("table_tls = on\n"), expected);
  expected = by_default;
  expected.version_min = TlsVersion::k12;
  EXPECT_EQ(with("tls_min = 1.2\n"), expected);
  expected = by_default;
  expected.sni = true;
  EXPECT_EQ(with("tls_sni = on\n"), expected);
  expected = by_default;
  expected.accept_cn = false;
  EXPECT_EQ(with("tls_accept_cn = off\n"), expected);
  expected = by_default;
  expected.broken_memory = Duration::zero();
  EXPECT_EQ(with("tls_broken_memory = 0\n"), expected);
  expected = by_default;
  expected.ca_file = "other.pem";
  EXPECT_EQ(with("tls_ca_file = other.pem\n"), expected);
  expected = by_default;
  expected.certificate = "other";
  EXPECT_EQ(with("certificate = other\n"), expected);
}

TEST(ControlsTls, KeysAreGivenOnceInEitherSpelling) {
  EXPECT_EQ(Errors("[a.example]\ntable_tls = on\nuse_tls = on\n"),
            std::vector<std::string>{"3: table_tls is given twice, first at line 2"});
  EXPECT_EQ(Errors("[a.example]\nTLS_SNI = on\ntls_sni = on\n").size(), 1u);
}

}  // namespace
}  // namespace sluice::policy
