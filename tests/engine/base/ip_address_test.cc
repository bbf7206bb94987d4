// IP addresses, socket addresses and networks: what is read and what is refused, that IPv4 in IPv6
// clothing is IPv4, and which addresses a public MX record has no business naming. The expected
// values are those of RFC 4291, RFC 5952 and RFC 6890.

#include "engine/base/ip_address.h"

#include <netinet/in.h>

#include <cstring>
#include <string>

#include "gtest/gtest.h"

namespace sluice {
namespace {

IpAddress Ip(absl::string_view text) {
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress{});
}

TEST(IpAddress, ReadsBothFamiliesAndWritesTheShortForm) {
  const struct {
    const char* text;
    Family family;
    const char* canonical;
  } kRows[] = {
      {"192.0.2.1", Family::kIpv4, "192.0.2.1"},
      {"0.0.0.0", Family::kIpv4, "0.0.0.0"},
      {"255.255.255.255", Family::kIpv4, "255.255.255.255"},
      {"2001:DB8:0:0:0:0:0:1", Family::kIpv6, "2001:db8::1"},
      {"2001:db8::1:0:0:1", Family::kIpv6, "2001:db8::1:0:0:1"},
      {"::1", Family::kIpv6, "::1"},
      {"::", Family::kIpv6, "::"},
      {"::ffff:192.0.2.1", Family::kIpv4, "192.0.2.1"},
      {"::FFFF:c000:0201", Family::kIpv4, "192.0.2.1"},
      {"1111:2222:3333:4444:5555:6666:123.123.123.123", Family::kIpv6,
       "1111:2222:3333:4444:5555:6666:7b7b:7b7b"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Ip(row.text).family, row.family) << row.text;
    EXPECT_EQ(Ip(row.text).ToString(), row.canonical);
  }
}

TEST(IpAddress, RefusesWhatIsNotAnAddressAndNothingElse) {
  const std::string nul("192.0.2.1\0", 10);
  const std::string long_text(100, '1');
  for (const absl::string_view text :
       {absl::string_view(""), absl::string_view("192.0.2"), absl::string_view("192.0.2.256"),
        absl::string_view("192.0.2.1 "), absl::string_view(" 192.0.2.1"),
        absl::string_view("192.0.2.01"), absl::string_view("0x7f.0.0.1"),
        absl::string_view("3221225985"), absl::string_view("[::1]"), absl::string_view("::1%eth0"),
        absl::string_view("1:2:3:4:5:6:7"), absl::string_view("1::2::3"),
        absl::string_view("example.com"), absl::string_view(nul), absl::string_view(long_text)}) {
    EXPECT_FALSE(IpAddress::Parse(text).has_value()) << text;
  }
}

TEST(IpAddress, OfTwoKindsAreNeverEqual) {
  EXPECT_EQ(Ip("::ffff:127.0.0.1"), Ip("127.0.0.1"));
  EXPECT_NE(Ip("::"), Ip("0.0.0.0"));
  EXPECT_NE(IpAddress{}, Ip("0.0.0.0"));
  EXPECT_LT(Ip("255.0.0.0"), Ip("::1"));
  EXPECT_LT(Ip("192.0.2.1"), Ip("192.0.2.2"));
}

TEST(IpAddress, NoBusinessInAPublicMxRecord) {
  for (const char* text : {"0.0.0.0",
                           "0.255.255.255",
                           "10.0.0.0",
                           "10.255.255.255",
                           "100.64.0.0",
                           "100.127.255.255",
                           "127.0.0.1",
                           "127.255.255.255",
                           "169.254.0.0",
                           "169.254.255.255",
                           "172.16.0.0",
                           "172.31.255.255",
                           "192.0.0.8",
                           "192.168.0.0",
                           "192.168.255.255",
                           "198.18.0.0",
                           "198.19.255.255",
                           "224.0.0.1",
                           "239.255.255.255",
                           "240.0.0.0",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "fc00::",
                           "fdff:ffff::1",
                           "fe80::1",
                           "febf::1",
                           "fec0::1",
                           "ff02::1",
                           "100::1",
                           "64:ff9b::10.0.0.1",
                           "64:ff9b::7f00:1",
                           "64:ff9b:1::1",
                           "2002:7f00:1::",
                           "2002:c0a8:101::1",
                           "::ffff:127.0.0.1",
                           "::127.0.0.1"}) {
    EXPECT_TRUE(Ip(text).IsSpecial()) << text;
  }
}

TEST(IpAddress, PublicOnesAtTheEdgesOfTheSpecialBlocks) {
  for (const char* text :
       {"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2001:4860:4860::8888", "fbff::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "101::1",
        // Documentation: routed nowhere, and what examples and simulations are made of.
        "192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"}) {
    EXPECT_FALSE(Ip(text).IsSpecial()) << text;
  }
  EXPECT_FALSE(IpAddress{}.IsSpecial());
}

TEST(IpAddress, LoopbackInEveryWriting) {
  for (const char* text : {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(Ip(text).IsLoopback()) << text;
  }
  for (const char* text : {"126.255.255.255", "128.0.0.0", "::2", "::", "1::1"}) {
    EXPECT_FALSE(Ip(text).IsLoopback()) << text;
  }
  EXPECT_FALSE(IpAddress{}.IsLoopback());
}

TEST(SocketAddress, ReadsAndWrites) {
  const struct {
    const char* text;
    const char* canonical;
    int port;
  } kRows[] = {
      {"192.0.2.1:25", "192.0.2.1:25", 25},
      {"[2001:db8::1]:25", "[2001:db8::1]:25", 25},
      {"[::ffff:192.0.2.1]:587", "192.0.2.1:587", 587},
      {"192.0.2.1:0", "192.0.2.1:0", 0},
      {"192.0.2.1:65535", "192.0.2.1:65535", 65535},
  };
  for (const auto& row : kRows) {
    const std::optional<SocketAddress> address = SocketAddress::Parse(row.text);
    ASSERT_TRUE(address.has_value()) << row.text;
    EXPECT_EQ(address->port, row.port);
    EXPECT_EQ(address->ToString(), row.canonical);
  }
}

TEST(SocketAddress, Refused) {
  for (const char* text :
       {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+25",
        "192.0.2.1: 25", "192.0.2.1:25 ", "::1:25", "[::1]", "[::1]25", "[::1:25", "::1]:25",
        "[192.0.2.1]:25", "mx.example:25", ":25", "[]:25", "192.0.2.1:000025"}) {
    EXPECT_FALSE(SocketAddress::Parse(text).has_value()) << text;
  }
}

TEST(SocketAddress, ToTheSystemAndBack) {
  for (const char* text : {"192.0.2.1:25", "[2001:db8::1]:2525"}) {
    const SocketAddress address = *SocketAddress::Parse(text);
    sockaddr_storage storage;
    std::memset(&storage, 0xff, sizeof storage);
    const socklen_t length = address.ToSystem(storage);
    EXPECT_EQ(length,
              address.ip.family == Family::kIpv4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(SocketAddress::FromSystem(storage), address);
  }
}

TEST(SocketAddress, APeerOfADualStackListenerIsIpv4) {
  sockaddr_in6 system{};
  system.sin6_family = AF_INET6;
  system.sin6_port = htons(25);
  const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  std::memcpy(&system.sin6_addr, mapped, sizeof mapped);
  sockaddr_storage storage{};
  std::memcpy(&storage, &system, sizeof system);
  EXPECT_EQ(SocketAddress::FromSystem(storage).ToString(), "127.0.0.1:25");
}

TEST(SocketAddress, OfAnotherFamilyIsNone) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(SocketAddress::FromSystem(storage), SocketAddress{});
}

TEST(Network, ContainsItsFirstAndLastAddressAndNoneBeside) {
  const struct {
    const char* network;
    const char* below;
    const char* first;
    const char* last;
    const char* above;
  } kRows[] = {
      {"10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
      {"192.0.2.64/26", "192.0.2.63", "192.0.2.64", "192.0.2.127", "192.0.2.128"},
      {"192.0.2.1", "192.0.2.0", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
      {"192.0.2.2/31", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"},
      {"::1/128", "::", "::1", "::1", "::2"},
      {"2001:db8::/33", "2001:db7:ffff::", "2001:db8::", "2001:db8:7fff::ffff", "2001:db8:8000::"},
      {"::ffff:10.0.0.0/104", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
  };
  for (const auto& row : kRows) {
    const absl::StatusOr<Network> network = Network::Parse(row.network);
    ASSERT_TRUE(network.ok()) << network.status();
    EXPECT_FALSE(network->Contains(Ip(row.below))) << row.network;
    EXPECT_TRUE(network->Contains(Ip(row.first))) << row.network;
    EXPECT_TRUE(network->Contains(Ip(row.last))) << row.network;
    EXPECT_FALSE(network->Contains(Ip(row.above))) << row.network;
  }
}

TEST(Network, AllOfAFamilyIsNotTheOther) {
  const Network all_ipv4 = *Network::Parse("0.0.0.0/0");
  EXPECT_TRUE(all_ipv4.Contains(Ip("255.255.255.255")));
  EXPECT_TRUE(all_ipv4.Contains(Ip("::ffff:192.0.2.1")));
  EXPECT_FALSE(all_ipv4.Contains(Ip("::1")));
  EXPECT_FALSE(all_ipv4.Contains(IpAddress{}));
  EXPECT_FALSE(Network::Parse("::/0")->Contains(Ip("192.0.2.1")));
}

TEST(Network, RefusedWithTheReason) {
  for (const char* text : {"", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.1/8",
                           "::1/127", "10.0.0/8", "10.0.0.0/8/8", "10.0.0.0/8 ",
                           "::ffff:10.0.0.0/95", "::ffff:10.0.0.0/129", "example.com"}) {
    const absl::StatusOr<Network> network = Network::Parse(text);
    ASSERT_FALSE(network.ok()) << text;
    EXPECT_NE(network.status().message().find(text), absl::string_view::npos);
  }
}

TEST(Network, AnyOfSeveral) {
  const std::vector<Network> networks = {*Network::Parse("127.0.0.0/8"), *Network::Parse("::1")};
  EXPECT_TRUE(AnyContains(networks, Ip("127.0.0.2")));
  EXPECT_TRUE(AnyContains(networks, Ip("::1")));
  EXPECT_FALSE(AnyContains(networks, Ip("::2")));
  EXPECT_FALSE(AnyContains({}, Ip("::1")));
}

}  // namespace
}  // namespace sluice
