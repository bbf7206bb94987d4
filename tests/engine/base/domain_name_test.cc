// The one form in which a domain is compared and counted: that all writings of one domain give one
// form, each refusal with the bound at it and one over, and that the form is a fixed point. The
// A-labels are those of RFC 3492, RFC 5891 and RFC 5892; the hashes are FNV's published test
// vectors.

#include "engine/base/domain_name.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

std::string Normal(absl::string_view text) {
  const absl::StatusOr<std::string> domain = NormalizeDomain(text);
  return domain.ok() ? *domain : std::string(absl::StrCat("refused: ", domain.status().message()));
}

bool Refused(absl::string_view text) {
  return !NormalizeDomain(text).ok();
}

std::string Label(size_t octets) {
  return std::string(octets, 'a');
}

TEST(DomainName, OneDestinationInEveryWriting) {  // R5
  const struct {
    const char* text;
    const char* normal;
  } kRows[] = {
      {"example.com", "example.com"},
      {"Example.COM.", "example.com"},
      {"com", "com"},
      {"_dmarc.example.com", "_dmarc.example.com"},
      {"a-b.3com.example", "a-b.3com.example"},
      {"bücher.example", "xn--bcher-kva.example"},
      {"BÜCHER.Example.", "xn--bcher-kva.example"},
      {"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
      {"bu\xcc\x88"
       "cher.example",
       "xn--bcher-kva.example"},                    // u and combining diaeresis.
      {"straße.example", "xn--strae-oqa.example"},  // IDNA2008 keeps it apart from ss.
      {"例え.テスト", "xn--r8jz45g.xn--zckzah"},
      {"例え。テスト。", "xn--r8jz45g.xn--zckzah"},  // Ideographic full stops.
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Normal(row.text), row.normal) << row.text;
    EXPECT_EQ(Normal(row.normal), row.normal);
  }
}

TEST(DomainName, LengthsAtTheBoundAndOneOver) {  // RFC 1035 2.3.4
  EXPECT_EQ(Normal(Label(63)), Label(63));
  EXPECT_TRUE(Refused(Label(64)));
  EXPECT_TRUE(Refused(absl::StrCat("a.", Label(64), ".example")));

  const std::string three = absl::StrCat(Label(63), ".", Label(63), ".", Label(63), ".");
  EXPECT_EQ(Normal(three + Label(61)).size(), 253u);
  EXPECT_EQ(Normal(three + Label(61) + ".").size(), 253u);
  EXPECT_TRUE(Refused(three + Label(62)));
}

TEST(DomainName, UnicodeLengthsAreThoseOfTheALabels) {
  std::string label = "ü";
  while (Normal(label + "a").rfind("refused", 0) != 0) label += "a";
  EXPECT_EQ(Normal(label).size(), 63u);
  std::string long_name;
  for (int i = 0; i < 2000; ++i) long_name += "ü.";
  EXPECT_TRUE(Refused(long_name + "example"));
}

TEST(DomainName, EmptyNamesAndLabelsAreRefused) {
  for (const char* text : {"", ".", "..", ".example.com", "example..com", "example.com..",
                           "bücher..example", "。", "ü。。"}) {
    EXPECT_TRUE(Refused(text)) << text << " gave " << Normal(text);
  }
}

TEST(DomainName, EveryOctetOutsideTheAlphabetIsRefused) {
  for (int c = 0; c < 0x80; ++c) {
    const bool legal = std::isalnum(c) || c == '-' || c == '_' || c == '.';
    const std::string ascii = absl::StrCat("a", std::string(1, static_cast<char>(c)), "b.example");
    EXPECT_EQ(Refused(ascii), !legal) << c;
    const std::string unicode = absl::StrCat("ü", ascii);
    EXPECT_EQ(Refused(unicode), !legal) << c;
  }
}

TEST(DomainName, InvalidULabelsAreRefused) {
  for (const char* text : {
           "\xff.example",          // Not UTF-8.
           "b\xc3.example",         // UTF-8 cut short.
           "\xc0\xaf.example",      // Overlong '/'.
           "\xed\xa0\x80.example",  // A surrogate.
           "\xe2\x98\x83.example",  // A snowman: DISALLOWED by RFC 5892.
           "\xcc\x88"
           "a.example",  // Begins with a combining mark (RFC 5891 4.2.3.2).
           "ü--ü.example"
           "\xff",
       }) {
    EXPECT_TRUE(Refused(text)) << text << " gave " << Normal(text);
  }
}

TEST(DomainName, NothingAfterANulIsForgotten) {
  EXPECT_TRUE(Refused(absl::string_view("example.com\0.evil", 17)));
  EXPECT_TRUE(
      Refused(absl::string_view("b\xc3\xbc"
                                "cher.example\0.evil",
                                20)));
}

TEST(DomainName, TheReasonIsSaid) {
  EXPECT_EQ(Normal(""), "refused: the domain is empty");
  EXPECT_EQ(Normal("a..b"), "refused: the domain has an empty label");
  EXPECT_EQ(Normal(Label(64)), "refused: the domain has a label over 63 octets");
}

TEST(AddressLiteral, InItsCanonicalSpelling) {  // RFC 5321 4.1.3
  const struct {
    const char* text;
    const char* normal;
  } kRows[] = {
      {"[192.0.2.1]", "[192.0.2.1]"},
      {"[IPv6:2001:DB8:0:0::1]", "[IPv6:2001:db8::1]"},
      {"[ipv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
      {"[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Normal(row.text), row.normal) << row.text;
    EXPECT_EQ(Normal(row.normal), row.normal);
    EXPECT_TRUE(IsAddressLiteral(row.normal));
  }
  EXPECT_FALSE(IsAddressLiteral("example.com"));
  EXPECT_FALSE(IsAddressLiteral("192.0.2.1"));
}

TEST(AddressLiteral, Refused) {
  for (const char* text : {"[", "[]", "[192.0.2.1", "[192.0.2.256]", "[2001:db8::1]",
                           "[IPv6:192.0.2.1]", "[IPv6:]", "[192.0.2.1].", "[192.0.2.1]x",
                           "[[192.0.2.1]]", "[ 192.0.2.1]", "[x-tag:1]", "192.0.2.1]"}) {
    EXPECT_TRUE(Refused(text)) << text << " gave " << Normal(text);
  }
}

TEST(DomainName, HashIsFnv1a) {
  EXPECT_EQ(HashDomain(""), 0xcbf29ce484222325u);
  EXPECT_EQ(HashDomain("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(HashDomain("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace sluice
