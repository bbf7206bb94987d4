// Records out of their wire form: good ones, every length that is not one, and names that no host
// has. The bytes are written by hand from RFC 1035 3.3.9 and RFC 3596 2.2.

#include "engine/dns/rdata.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace sluice::dns {
namespace {

std::string Label(absl::string_view text) {
  return absl::StrCat(std::string(1, static_cast<char>(text.size())), text);
}

const std::string kRoot(1, '\0');

std::string Mx(int preference, absl::string_view name) {
  const char bytes[] = {static_cast<char>(preference >> 8), static_cast<char>(preference)};
  return absl::StrCat(absl::string_view(bytes, 2), name);
}

std::string NameOf(absl::string_view rdata) {
  const auto record = ParseMx(rdata);
  return record ? record->name : "malformed";
}

TEST(Rdata, MxHasAPreferenceAndAName) {
  const auto record = ParseMx(Mx(0xfffe, Label("mx") + Label("example") + Label("com") + kRoot));
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->preference, 0xfffe);
  EXPECT_EQ(record->name, "mx.example.com");
}

TEST(Rdata, MxNamesAreFolded) {
  EXPECT_EQ(NameOf(Mx(0, Label("MX") + Label("XN--BCHER-KVA") + Label("Example") + kRoot)),
            "mx.xn--bcher-kva.example");
  EXPECT_EQ(NameOf(Mx(0, Label("mx_1-a") + Label("example") + kRoot)), "mx_1-a.example");
}

TEST(Rdata, TheRootAloneIsAnEmptyName) {
  const auto record = ParseMx(Mx(0, kRoot));
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->name, "");
}

TEST(Rdata, MxCutAnywhereOrContinuedIsMalformed) {
  const std::string whole = Mx(10, Label("mx") + Label("example") + kRoot);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(NameOf(whole.substr(0, length)), "malformed") << length;
  }
  EXPECT_EQ(NameOf(whole), "mx.example");
  EXPECT_EQ(NameOf(whole + kRoot), "malformed");
  EXPECT_EQ(NameOf(Mx(10, kRoot + Label("mx") + kRoot)), "malformed");
}

TEST(Rdata, PointersInAnMxNameAreMalformed) {
  EXPECT_EQ(NameOf(Mx(10, "\xc0\x0c")), "malformed");
  EXPECT_EQ(NameOf(Mx(10, Label("mx") + "\xc0" + kRoot)), "malformed");
  EXPECT_EQ(NameOf(Mx(10, "\x40" + std::string(64, 'a') + kRoot)), "malformed");
}

TEST(Rdata, LabelsAndNamesHaveTheirBounds) {
  const std::string label(63, 'a');
  EXPECT_EQ(NameOf(Mx(0, Label(label) + kRoot)), label);
  // 3 * 64 + 62 + 1 = 255 octets on the wire (RFC 1035 2.3.4), 253 as text.
  const std::string three = Label(label) + Label(label) + Label(label);
  EXPECT_EQ(NameOf(Mx(0, three + Label(std::string(61, 'b')) + kRoot)).size(), 253u);
  EXPECT_EQ(NameOf(Mx(0, three + Label(std::string(62, 'b')) + kRoot)), "malformed");
}

TEST(Rdata, OctetsThatNoHostNameHasAreMalformed) {
  for (int octet = 0; octet < 256; ++octet) {
    const char c = static_cast<char>(octet);
    const bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    const std::string name = Label(std::string("a") + c + "b") + Label("example") + kRoot;
    EXPECT_EQ(NameOf(Mx(0, name)) != "malformed", allowed) << octet;
  }
}

TEST(Rdata, AddressesHaveExactlyTheirLength) {
  const std::string bytes("\xc0\x00\x02\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x01",
                          17);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    EXPECT_EQ(ParseA(bytes.substr(0, length)).has_value(), length == 4) << length;
    EXPECT_EQ(ParseAaaa(bytes.substr(0, length)).has_value(), length == 16) << length;
  }
  EXPECT_EQ(ParseA(bytes.substr(0, 4))->ToString(), "192.0.2.1");
  EXPECT_EQ(ParseAaaa(std::string("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16))->ToString(),
            "2001:db8::1");
}

TEST(Rdata, AMappedAddressIsTheIpv4AddressInIt) {
  const auto address = ParseAaaa(std::string("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01", 16));
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->ToString(), "127.0.0.1");
  EXPECT_TRUE(address->IsSpecial());
}

}  // namespace
}  // namespace sluice::dns
