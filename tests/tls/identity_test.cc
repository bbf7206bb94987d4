// Names by RFC 9525: every form that a certificate may present against a name that we look for. The
// answers are the RFC's (6.3 for wildcards, 6.4 for what else there is) and RFC 5280's 4.2.1.6.

#include "tls/identity.h"

#include "gtest/gtest.h"

namespace sluice::tls {
namespace {

using namespace std::string_literals;

TEST(DnsId, NamesTheSameHostInAnyCaseAndWithALastDot) {
  EXPECT_TRUE(DnsIdNames("mx.example.net", "mx.example.net"));
  EXPECT_TRUE(DnsIdNames("MX.Example.NET", "mx.example.net"));
  EXPECT_TRUE(DnsIdNames("mx.example.net.", "mx.example.net"));
  EXPECT_TRUE(DnsIdNames("localhost", "localhost"));
  EXPECT_TRUE(DnsIdNames("xn--bcher-kva.example", "xn--bcher-kva.example"));
}

TEST(DnsId, NamesNobodyElse) {
  for (const auto* presented :
       {"example.net", "mx.example.ne", "amx.example.net", "mx.example.net.evil.example",
        "x.mx.example.net", ".mx.example.net", "mx.example.net..", "mx..example.net", "", ".",
        "net", "mx-example-net"}) {
    EXPECT_FALSE(DnsIdNames(presented, "mx.example.net")) << presented;
  }
}

TEST(DnsId, WithAnyOctetThatAHostCantHaveNamesNobody) {
  EXPECT_FALSE(DnsIdNames("mx.example.net\0"s, "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("mx.example.net\0.evil.example"s, "mx.example.net"));
  EXPECT_FALSE(DnsIdNames(" mx.example.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("mx.example.net\n", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("mx_1.example.net", "mx_1.example.net"));
  EXPECT_FALSE(
      DnsIdNames("b\xc3\xbc"
                 "cher.example",
                 "xn--bcher-kva.example"));
  EXPECT_FALSE(
      DnsIdNames("b\xc3\xbc"
                 "cher.example",
                 "b\xc3\xbc"
                 "cher.example"));
}

TEST(DnsId, AWildcardStandsForExactlyOneLabel) {
  EXPECT_TRUE(DnsIdNames("*.example.net", "mx.example.net"));
  EXPECT_TRUE(DnsIdNames("*.EXAMPLE.net.", "mx.example.net"));
  EXPECT_TRUE(DnsIdNames("*.example.net", "xn--bcher-kva.example.net"));
  EXPECT_FALSE(DnsIdNames("*.example.net", "example.net"));
  EXPECT_FALSE(DnsIdNames("*.example.net", "a.mx.example.net"));
  EXPECT_FALSE(DnsIdNames("*.example.net", "mx.example.com"));
  EXPECT_FALSE(DnsIdNames("*.example.net", ".example.net"));
}

TEST(DnsId, AWildcardIsTheWholeLeftmostLabelWithTwoBehindIt) {
  EXPECT_FALSE(DnsIdNames("*", "net"));
  EXPECT_FALSE(DnsIdNames("*.", "net"));
  EXPECT_FALSE(DnsIdNames("*.net", "example.net"));
  EXPECT_FALSE(DnsIdNames("*.net.", "example.net"));
  EXPECT_FALSE(DnsIdNames("m*.example.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("*x.example.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("mx.*.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("*.*.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("**.example.net", "mx.example.net"));
  EXPECT_FALSE(DnsIdNames("xn--*.example.net", "xn--bcher-kva.example.net"));
}

TEST(DnsId, HasABound) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  EXPECT_EQ(longest.size(), 253U);
  EXPECT_TRUE(DnsIdNames(longest, longest));
  EXPECT_FALSE(DnsIdNames(longest + "a", longest + "a"));
  EXPECT_FALSE(DnsIdNames(label + "a.example.net", label + "a.example.net"));
}

TEST(PlainDnsId, IsWhatConstraintsAreComparedWith) {
  EXPECT_TRUE(IsPlainDnsId("mx.example.net"));
  EXPECT_TRUE(IsPlainDnsId("*.example.net"));
  EXPECT_TRUE(IsPlainDnsId("mx_1.example.net"));
  for (const auto& odd : {"mx.example.net."s, ".example.net"s, "a..b"s, ""s, "*"s, "*."s, "a.*.b"s,
                          "a\0b"s, "a b"s, "\xc3\xbc.example"s}) {
    EXPECT_FALSE(IsPlainDnsId(odd)) << odd;
  }
}

// --- Which reference is met.

const References kAll{.domain = "example.net",
                      .mx_hosts = {"mx1.example.org", "mx2.example.org"},
                      .route_hosts = {"relay.example.com", "192.0.2.7"}};

PresentedNames Presenting(std::vector<std::string> dns) {
  return {.has_alternative_names = true, .dns = std::move(dns)};
}

TEST(MatchNames, SaysWhichReferenceIsMetAndTheBestOfSeveral) {
  EXPECT_EQ(MatchNames(Presenting({"example.net"}), kAll, false), NameKind::kDomain);
  EXPECT_EQ(MatchNames(Presenting({"mx2.example.org"}), kAll, false), NameKind::kMxHost);
  EXPECT_EQ(MatchNames(Presenting({"*.example.org"}), kAll, false), NameKind::kMxHost);
  EXPECT_EQ(MatchNames(Presenting({"relay.example.com"}), kAll, false), NameKind::kRouteHost);
  EXPECT_EQ(MatchNames(Presenting({"relay.example.com", "mx1.example.org"}), kAll, false),
            NameKind::kMxHost);
  EXPECT_EQ(
      MatchNames(Presenting({"relay.example.com", "mx1.example.org", "example.net"}), kAll, false),
      NameKind::kDomain);
  EXPECT_EQ(MatchNames(Presenting({"*.example.net", "example.com"}), kAll, false), NameKind::kNone);
  EXPECT_EQ(MatchNames(Presenting({}), kAll, false), NameKind::kNone);
}

TEST(MatchNames, ReferencesAreTakenInAnySpelling) {
  const auto names = Presenting({"xn--bcher-kva.example"});
  EXPECT_EQ(MatchNames(names,
                       {.domain = "B\xc3\xbc"
                                  "cher.EXAMPLE."},
                       false),
            NameKind::kDomain);
  EXPECT_EQ(MatchNames(names, {.domain = "bucher.example"}, false), NameKind::kNone);
  EXPECT_EQ(MatchNames(Presenting({""}), {.domain = "", .mx_hosts = {"", ".", "a b"}}, true),
            NameKind::kNone);
}

TEST(MatchNames, AnAddressIsNamedByItsOctetsOnly) {
  PresentedNames names = Presenting({"192.0.2.7", "[192.0.2.7]", "*.0.2.7"});
  EXPECT_EQ(MatchNames(names, kAll, false), NameKind::kNone);
  names.addresses = {"192.0.2.7", "\xc0\x00\x02"s, "\xc0\x00\x02\x07\xff\xff\xff\xff"s};
  EXPECT_EQ(MatchNames(names, kAll, false), NameKind::kNone);
  names.addresses = {"\xc0\x00\x02\x07"s};
  EXPECT_EQ(MatchNames(names, kAll, false), NameKind::kRouteHost);
  EXPECT_EQ(MatchNames(names, {.domain = "[192.0.2.7]"}, false), NameKind::kDomain);
  EXPECT_EQ(MatchNames(names, {.domain = "[192.0.2.8]"}, false), NameKind::kNone);
  EXPECT_EQ(MatchNames(names, {.domain = "192.0.2.7.example"}, false), NameKind::kNone);
}

TEST(MatchNames, AnIpv6AddressToo) {
  PresentedNames names = Presenting({});
  names.addresses = {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"s};
  EXPECT_EQ(MatchNames(names, {.domain = "[IPv6:2001:DB8::1]"}, false), NameKind::kDomain);
  EXPECT_EQ(MatchNames(names, {.domain = "[IPv6:2001:db8::2]"}, false), NameKind::kNone);
  // An IPv4 address in IPv6's clothing is presented as neither.
  names.addresses = {"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07"s};
  EXPECT_EQ(MatchNames(names, kAll, false), NameKind::kNone);
}

TEST(MatchNames, ACommonNameCountsOnlyWhereAskedAndAlone) {
  PresentedNames names{.common_name = "example.net"};
  EXPECT_EQ(MatchNames(names, kAll, false), NameKind::kNone);
  EXPECT_EQ(MatchNames(names, kAll, true), NameKind::kDomain);
  names.common_name = "*.example.org";
  EXPECT_EQ(MatchNames(names, kAll, true), NameKind::kMxHost);
  names.common_name = "192.0.2.7";
  EXPECT_EQ(MatchNames(names, kAll, true), NameKind::kNone);
  names.common_name = "example.net";
  names.has_alternative_names = true;  // Of whatever kind, an e-mail address say.
  EXPECT_EQ(MatchNames(names, kAll, true), NameKind::kNone);
}

TEST(NameKindWord, AreTheLogs) {
  EXPECT_EQ(NameKindWord(NameKind::kNone), "none");
  EXPECT_EQ(NameKindWord(NameKind::kDomain), "domain");
  EXPECT_EQ(NameKindWord(NameKind::kMxHost), "mx-host");
  EXPECT_EQ(NameKindWord(NameKind::kRouteHost), "route-host");
}

}  // namespace
}  // namespace sluice::tls
