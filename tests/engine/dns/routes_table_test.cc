// The routes table as an operator writes it: what each line means, the order of looking up, and
// every kind of fault, with its line. The table is built from text and asked; nothing else takes
// part.

#include "engine/dns/routes_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/limits.h"
#include "engine/dns/limits.h"

namespace sluice::dns {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RoutesTable Table(absl::string_view text) {
  std::vector<RoutesError> errors;
  RoutesTable table = RoutesTable::Parse(text, 25, errors);
  for (const RoutesError& error : errors) ADD_FAILURE() << error.line << ": " << error.text;
  return table;
}

std::vector<TableHost> Hosts(absl::string_view line) {
  const RoutesTable table = Table(absl::StrCat("example.com ", line));
  const auto* hosts = table.Lookup("example.com");
  return hosts == nullptr ? std::vector<TableHost>() : *hosts;
}

// The first host's name for `domain`, or "MX".
std::string Where(const RoutesTable& table, absl::string_view domain) {
  const auto* hosts = table.Lookup(domain);
  return hosts == nullptr ? "MX" : hosts->front().name;
}

std::vector<std::string> Errors(absl::string_view text) {
  std::vector<RoutesError> errors;
  RoutesTable::Parse(text, 25, errors);
  std::vector<std::string> lines;
  for (const RoutesError& error : errors)
    lines.push_back(absl::StrCat(error.line, ": ", error.text));
  return lines;
}

TEST(RoutesTable, ReadsTheExampleOfItsHeader) {
  const RoutesTable table = Table(
      "example.com      mx1.example.net, mx2.example.net:2525/pri=10\n"
      ".example.org     192.0.2.25\n"
      "ALL              [2001:db8::25]:26\n");
  EXPECT_EQ(table.size(), 3u);
  EXPECT_THAT(*table.Lookup("example.com"),
              ElementsAre(TableHost{"mx1.example.net", false, 25, 0},
                          TableHost{"mx2.example.net", false, 2525, 10}));
  EXPECT_THAT(*table.Lookup("a.example.org"), ElementsAre(TableHost{"192.0.2.25", true, 25, 0}));
  EXPECT_THAT(*table.Lookup("example.org"), ElementsAre(TableHost{"2001:db8::25", true, 26, 0}));
}

TEST(RoutesTable, LooksUpTheExactDomainThenTheLongestPartialThenAll) {
  const RoutesTable table = Table(
      "ALL all.example.net\n"
      ".example.com short.example.net\n"
      ".b.example.com long.example.net\n"
      "c.b.example.com exact.example.net\n"
      "example.com bare.example.net\n");
  EXPECT_EQ(Where(table, "c.b.example.com"), "exact.example.net");
  EXPECT_EQ(Where(table, "x.b.example.com"), "long.example.net");
  EXPECT_EQ(Where(table, "y.x.b.example.com"), "long.example.net");
  EXPECT_EQ(Where(table, "b.example.com"), "short.example.net");
  EXPECT_EQ(Where(table, "d.c.b.example.com"), "long.example.net");
  EXPECT_EQ(Where(table, "example.com"), "bare.example.net");
  EXPECT_EQ(Where(table, "notexample.com"), "all.example.net");
  EXPECT_EQ(Where(table, "com"), "all.example.net");
}

TEST(RoutesTable, LeavesWhatItDoesNotNameToMx) {
  const RoutesTable table = Table(".example.com mx.example.net\nexample.org mx.example.net\n");
  EXPECT_EQ(Where(table, "example.com"), "MX");
  EXPECT_EQ(Where(table, "a.example.org"), "MX");
  EXPECT_EQ(Where(table, "example"), "MX");
  EXPECT_EQ(Where(table, ""), "MX");
  EXPECT_EQ(Where(Table(""), "example.com"), "MX");
}

TEST(RoutesTable, FindsAnAddressLiteralByItselfOrByAll) {
  const RoutesTable table = Table(
      "[192.0.2.1] four.example.net\n"
      "[IPv6:2001:DB8::1] six.example.net\n"
      "ALL all.example.net\n");
  EXPECT_EQ(Where(table, "[192.0.2.1]"), "four.example.net");
  EXPECT_EQ(Where(table, "[IPv6:2001:db8::1]"), "six.example.net");
  EXPECT_EQ(Where(table, "[192.0.2.2]"), "all.example.net");
}

TEST(RoutesTable, FoldsCaseTrailingDotsAndUnicode) {
  const RoutesTable table = Table(
      "Example.COM. MX.Example.NET.\n"
      "b\xc3\xbc"
      "cher.example mx.b\xc3\xbc"
      "cher.example\n"
      ".Example.ORG mx.example.net\n"
      "all fallback.example.net\n");
  EXPECT_EQ(Where(table, "example.com"), "mx.example.net");
  EXPECT_EQ(Where(table, "xn--bcher-kva.example"), "mx.xn--bcher-kva.example");
  EXPECT_EQ(Where(table, "a.example.org"), "mx.example.net");
  EXPECT_EQ(Where(table, "other.example"), "fallback.example.net");
}

TEST(RoutesTable, ReadsEveryFormOfAHost) {
  const struct {
    const char* text;
    TableHost host;
  } kForms[] = {
      {"mx.example.net", {"mx.example.net", false, 25, 0}},
      {"mx.example.net:1", {"mx.example.net", false, 1, 0}},
      {"mx.example.net:65535", {"mx.example.net", false, 65535, 0}},
      {"mx.example.net/pri=0", {"mx.example.net", false, 25, 0}},
      {"mx.example.net/pri=65535", {"mx.example.net", false, 25, 65535}},
      {"mx.example.net:26/pri=7", {"mx.example.net", false, 26, 7}},
      {"relay", {"relay", false, 25, 0}},
      {"192.0.2.25", {"192.0.2.25", true, 25, 0}},
      {"192.0.2.25:26", {"192.0.2.25", true, 26, 0}},
      {"[192.0.2.25]", {"192.0.2.25", true, 25, 0}},
      {"[192.0.2.25]:26", {"192.0.2.25", true, 26, 0}},
      {"127.0.0.1:2525", {"127.0.0.1", true, 2525, 0}},
      {"2001:db8::25", {"2001:db8::25", true, 25, 0}},
      {"2001:DB8:0::25", {"2001:db8::25", true, 25, 0}},
      {"[2001:db8::25]", {"2001:db8::25", true, 25, 0}},
      {"[IPv6:2001:db8::25]:26", {"2001:db8::25", true, 26, 0}},
      {"[2001:db8::25]:26/pri=3", {"2001:db8::25", true, 26, 3}},
      {"[::ffff:192.0.2.25]", {"192.0.2.25", true, 25, 0}},
  };
  for (const auto& form : kForms) {
    EXPECT_THAT(Hosts(form.text), ElementsAre(form.host)) << form.text;
  }
}

TEST(RoutesTable, TakesBlanksCommentsAndBothLineEndings) {
  const RoutesTable table = Table(
      "\xef\xbb\xbf# where our mail goes\r\n"
      "\r\n"
      "  a.example\t \tmx1.example.net ,mx2.example.net,\tmx3.example.net:26 # and why\r\n"
      "   # nothing here\n"
      "b.example mx.example.net#close\n"
      "\t\n"
      "c.example mx.example.net");
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table.Lookup("a.example")->size(), 3u);
  EXPECT_EQ(table.Lookup("a.example")->back(), (TableHost{"mx3.example.net", false, 26, 0}));
  EXPECT_EQ(Where(table, "b.example"), "mx.example.net");
  EXPECT_EQ(Where(table, "c.example"), "mx.example.net");
}

TEST(RoutesTable, GivesTheDefaultPortToHostsThatNameNone) {
  std::vector<RoutesError> errors;
  const RoutesTable table = RoutesTable::Parse("ALL a.example, b.example:25", 2525, errors);
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(table.Lookup("x.example")->at(0).port, 2525);
  EXPECT_EQ(table.Lookup("x.example")->at(1).port, 25);
}

TEST(RoutesTable, RefusesEveryFaultyHost) {
  const struct {
    const char* text;
    const char* error;
  } kFaults[] = {
      {"", "a host is missing"},
      {",", "a host is missing"},
      {"a.example,", "a host is missing"},
      {",a.example", "a host is missing"},
      {"a.example,,b.example", "a host is missing"},
      {"a.example b.example", "separated by commas"},
      {"a.example:0", "a port is a number from 1 to 65535"},
      {"a.example:65536", "a port is a number from 1 to 65535"},
      {"a.example:99999999999999999999", "a port is a number from 1 to 65535"},
      {"a.example:", "a port is a number from 1 to 65535"},
      {"a.example:-1", "a port is a number from 1 to 65535"},
      {"a.example:+26", "a port is a number from 1 to 65535"},
      {"a.example:smtp", "a port is a number from 1 to 65535"},
      {"192.0.2.25:0", "a port is a number from 1 to 65535"},
      {"[2001:db8::25]:0", "a port is a number from 1 to 65535"},
      {"[2001:db8::25]26", "after a bracket comes"},
      {"[2001:db8::25", "a bracket has no end"},
      {"[mx.example.net]:26", "only an IP address stands in brackets"},
      {"[]", "only an IP address stands in brackets"},
      {"[fe80::1%eth0]", "only an IP address stands in brackets"},
      {"a:b:c", "[address]:port"},
      {"2001:db8::25:70000", "[address]:port"},
      {"a.example/pri=65536", "a preference is a number from 0 to 65535"},
      {"a.example/pri=", "a preference is a number from 0 to 65535"},
      {"a.example/pri=-1", "a preference is a number from 0 to 65535"},
      {"a.example/pri=1:26", "a preference is a number from 0 to 65535"},
      {"a.example/prio=1", "only \"/pri=N\" is known"},
      {"/dev/null", "only \"/pri=N\" is known"},
      {"/pri=5", "a host is missing"},
      {":26", "a host is a name or an IP address"},
      {"a..example", "a host is a name or an IP address"},
      {"192.0.2.256", "a host is a name or an IP address"},
      {"192.0.2", "a host is a name or an IP address"},
      {"mx@example.net", "a host is a name or an IP address"},
      {"USEDNS", "not supported"},
      {"a.example, A.EXAMPLE.", "a host is named twice"},
      {"192.0.2.1, [192.0.2.1]:25/pri=9", "a host is named twice"},
  };
  for (const auto& fault : kFaults) {
    EXPECT_THAT(Errors(absl::StrCat("example.com ", fault.text)),
                ElementsAre(HasSubstr(fault.error)))
        << fault.text;
  }
  EXPECT_THAT(Errors("example.com a.example, a.example:26"), IsEmpty());
}

TEST(RoutesTable, RefusesEveryFaultyDestination) {
  const std::string label_of_64(64, 'a');
  for (const std::string& destination :
       std::vector<std::string>{".", "..example", "a..example", "*.example", "[192.0.2.300]",
                                ".[192.0.2.1]", "a@b.example", "a,b", label_of_64 + ".example"}) {
    EXPECT_THAT(Errors(absl::StrCat(destination, " mx.example.net")),
                ElementsAre(HasSubstr("a destination is a domain, a partial domain or ALL")))
        << destination;
  }
}

TEST(RoutesTable, RefusesTheSameDestinationTwice) {
  EXPECT_THAT(Errors("a.example b.example\nA.Example. c.example\n"),
              ElementsAre(AllOf(HasSubstr("2: "), HasSubstr("second time"))));
  EXPECT_THAT(Errors(".a.example b.example\n.a.example c.example\n"),
              ElementsAre(HasSubstr("2: ")));
  EXPECT_THAT(Errors("ALL b.example\n\nall c.example\n"), ElementsAre(HasSubstr("3: ")));
  EXPECT_THAT(Errors("a.example b.example\n.a.example c.example\n"), IsEmpty());
}

TEST(RoutesTable, CollectsAllErrorsWithTheirLines) {
  EXPECT_THAT(Errors("# comment\r\n"
                     "a.example\r\n"
                     "b.example mx.example.net\r\n"
                     "c..example mx.example.net:0\r\n"
                     "b.example mx.example.net\r\n"
                     "d.example mx.example.net/pri=x"),
              ElementsAre(HasSubstr("2: a host is missing"), HasSubstr("4: a port"),
                          HasSubstr("4: a destination is"), HasSubstr("5: a destination stands"),
                          HasSubstr("6: a preference")));
}

TEST(RoutesTable, TakesARouteOfAsManyHostsAsItsBoundAndNotOneMore) {
  std::string line = "mx0.example";
  for (size_t i = 1; i < limits::kRouteHostsMax; ++i) absl::StrAppend(&line, ",mx", i, ".example");
  EXPECT_EQ(Hosts(line).size(), limits::kRouteHostsMax);
  EXPECT_THAT(Errors(absl::StrCat("example.com ", line, ",one-more.example")),
              ElementsAre(HasSubstr("at most 100 hosts")));
}

TEST(RoutesTable, TakesAsManyRoutesAsItsBoundAndSaysOnceThatThereAreMore) {
  std::string text = "ALL mx.example\n";
  for (size_t i = 1; i < kRoutesMax; ++i) absl::StrAppend(&text, "d", i, ".example mx.example\n");
  EXPECT_EQ(Table(text).size(), kRoutesMax);
  absl::StrAppend(&text, "more.example mx.example\nyet-more.example mx.example\n");
  EXPECT_THAT(Errors(text), ElementsAre(HasSubstr("40001: at most 40000 routes")));
}

TEST(RoutesTable, QuotesUnprintableTextReadably) {
  EXPECT_THAT(Errors(absl::string_view("a.example m\0x\x01", 14)),
              ElementsAre(HasSubstr("m\\x00x\\x01")));
}

}  // namespace
}  // namespace sluice::dns
