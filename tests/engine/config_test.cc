// sluice.toml as an operator writes it: every key is read, every mistake is named at its line, and
// what is left out has its default. Texts are parsed in memory; the few tests of files write them
// to a temporary folder.

#include "engine/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::vector<std::string> Errors(absl::string_view text) {
  std::vector<std::string> lines;
  for (const ConfigError& error : ParseConfig(text, "/etc/sluice/sluice.toml").errors) {
    lines.push_back(error.ToString());
  }
  return lines;
}

// The errors of a file that has a host name in its first line, and `text` from its second line on.
std::vector<std::string> ErrorsOf(absl::string_view text) {
  return Errors(absl::StrCat("hostname = \"mta.example.net\"\n", text));
}

Config Good(absl::string_view text) {
  LoadedConfig loaded = ParseConfig(absl::StrCat("hostname = \"mta.example.net\"\n", text),
                                    "/etc/sluice/sluice.toml");
  for (const ConfigError& error : loaded.errors) ADD_FAILURE() << error.ToString();
  return loaded.config;
}

bool Trusts(const ListenerConfig& listener, absl::string_view address) {
  return AnyContains(listener.relay_from, *IpAddress::Parse(address));
}

TEST(Config, OfAHostNameAloneHasAllDefaults) {
  const Config config = Good("");
  EXPECT_EQ(config.hostname, "mta.example.net");
  EXPECT_EQ(config.shards, 0u);
  EXPECT_EQ(config.handshake_threads, 0u);
  EXPECT_EQ(config.spool_path, "/var/spool/sluice");
  EXPECT_EQ(config.spool_min_free_bytes, std::nullopt);
  EXPECT_TRUE(config.spool_sync);
  EXPECT_EQ(config.destinations.path, "/etc/sluice/destinations.ini");
  EXPECT_FALSE(config.destinations.named);
  EXPECT_EQ(config.routes.path, "/etc/sluice/routes");
  EXPECT_FALSE(config.routes.named);
  EXPECT_THAT(config.dns_forward, IsEmpty());
  EXPECT_EQ(config.dns_trust_anchor, "/usr/share/dns/root.key");
  EXPECT_EQ(config.delivery_port, 25);
  EXPECT_THAT(config.allow_addresses, IsEmpty());
  EXPECT_EQ(config.ca_file, "/etc/ssl/certs/ca-certificates.crt");
  EXPECT_EQ(config.delivery_log, "/var/log/sluice/delivery.jsonl");
  EXPECT_EQ(config.control_socket, "/run/sluice/control.sock");
}

TEST(Config, WithoutAListenerListensOnLoopbackForLoopback) {
  const Config config = Good("");
  ASSERT_EQ(config.listeners.size(), 1u);
  const ListenerConfig& listener = config.listeners[0];
  EXPECT_EQ(listener.address.ToString(), "127.0.0.1:2525");
  EXPECT_EQ(listener.message_bytes_max, 52428800u);
  EXPECT_TRUE(Trusts(listener, "127.0.0.1"));
  EXPECT_TRUE(Trusts(listener, "::1"));
  EXPECT_FALSE(Trusts(listener, "192.0.2.1"));
}

TEST(Config, WithoutABounceProfileHasDefault) {
  const Config config = Good("");
  ASSERT_EQ(config.bounce_profiles.size(), 1u);
  const policy::BounceProfile& profile = config.bounce_profiles[0];
  EXPECT_EQ(profile.name, "Default");
  EXPECT_EQ(profile.initial_retry, seconds(60));
  EXPECT_EQ(profile.max_retry, seconds(3600));
  EXPECT_EQ(profile.max_retries, 100u);
  EXPECT_EQ(profile.max_queue, seconds(259200));
}

TEST(Config, TakesEveryKeyThatIsServed) {
  const Config config = Good(R"(
[engine]
shards = 4
handshake_threads = 2
[[listener]]
address = "192.0.2.1:25"
relay_from = ["192.0.2.0/24", "2001:db8::/32"]
max_message_bytes = 1000000
[[listener]]
address = "[::1]:2525"
[spool]
path = "/srv/spool"
min_free_bytes = 1073741824
sync = false
[destinations]
table = "/srv/destinations.ini"
[routes]
table = "/srv/routes"
[dns]
forward = ["127.0.0.1@5353", "2001:db8::53"]
trust_anchor = "/srv/root.key"
[delivery]
port = 2525
allow_addresses = ["10.0.0.0/8"]
[tls]
ca_file = "/srv/ca.pem"
[[bounce_profile]]
name = "Default"
initial_retry_s = 10
max_retry_s = 20
max_retries = 3
max_queue_s = 100
[log]
delivery = "/srv/delivery.jsonl"
[control]
socket = "/srv/control.sock"
http = ""
)");
  EXPECT_EQ(config.shards, 4u);
  EXPECT_EQ(config.handshake_threads, 2u);
  ASSERT_EQ(config.listeners.size(), 2u);
  EXPECT_EQ(config.listeners[0].address.ToString(), "192.0.2.1:25");
  EXPECT_EQ(config.listeners[0].message_bytes_max, 1000000u);
  EXPECT_TRUE(Trusts(config.listeners[0], "192.0.2.77"));
  EXPECT_TRUE(Trusts(config.listeners[0], "2001:db8::1"));
  EXPECT_FALSE(Trusts(config.listeners[0], "127.0.0.1"));
  EXPECT_EQ(config.listeners[1].address.ToString(), "[::1]:2525");
  EXPECT_TRUE(Trusts(config.listeners[1], "::1"));
  EXPECT_EQ(config.spool_path, "/srv/spool");
  EXPECT_EQ(config.spool_min_free_bytes, uint64_t{1} << 30);
  EXPECT_FALSE(config.spool_sync);
  EXPECT_EQ(config.destinations.path, "/srv/destinations.ini");
  EXPECT_TRUE(config.destinations.named);
  EXPECT_EQ(config.routes.path, "/srv/routes");
  EXPECT_TRUE(config.routes.named);
  EXPECT_THAT(config.dns_forward, ElementsAre("127.0.0.1@5353", "2001:db8::53"));
  EXPECT_EQ(config.dns_trust_anchor, "/srv/root.key");
  EXPECT_EQ(config.delivery_port, 2525);
  EXPECT_TRUE(AnyContains(config.allow_addresses, *IpAddress::Parse("10.1.2.3")));
  EXPECT_EQ(config.ca_file, "/srv/ca.pem");
  ASSERT_EQ(config.bounce_profiles.size(), 1u);
  EXPECT_EQ(config.bounce_profiles[0].initial_retry, seconds(10));
  EXPECT_EQ(config.bounce_profiles[0].max_retry, seconds(20));
  EXPECT_EQ(config.bounce_profiles[0].max_retries, 3u);
  EXPECT_EQ(config.bounce_profiles[0].max_queue, seconds(100));
  EXPECT_EQ(config.delivery_log, "/srv/delivery.jsonl");
  EXPECT_EQ(config.control_socket, "/srv/control.sock");
}

TEST(Config, NormalisesTheHostName) {
  EXPECT_EQ(ParseConfig("hostname = \"MTA.Example.NET.\"", "f").config.hostname, "mta.example.net");
}

TEST(Config, MakesRelativePathsRelativeToItsFolder) {
  const Config config = Good(
      "[spool]\npath = \"spool\"\n[destinations]\ntable = \"../d.ini\"\n"
      "[log]\ndelivery = \"log/delivery.jsonl\"\n");
  EXPECT_EQ(config.spool_path, "/etc/sluice/spool");
  EXPECT_EQ(config.destinations.path, "/etc/sluice/../d.ini");
  EXPECT_EQ(config.delivery_log, "/etc/sluice/log/delivery.jsonl");

  // A file that is named without a folder is in the current one.
  EXPECT_EQ(
      ParseConfig("hostname=\"a.example\"\nspool.path = \"spool\"", "x.toml").config.spool_path,
      "spool");
}

TEST(Config, ProfilesInheritFromDefaultWhereverItStands) {
  const Config config = Good(R"(
[[bounce_profile]]
name = "bulk"
max_retries = 7
[[bounce_profile]]
name = "Default"
initial_retry_s = 30
)");
  ASSERT_EQ(config.bounce_profiles.size(), 2u);
  EXPECT_EQ(config.bounce_profiles[0].name, "Default");
  EXPECT_EQ(config.bounce_profiles[0].initial_retry, seconds(30));
  EXPECT_EQ(config.bounce_profiles[0].max_retries, 100u);
  EXPECT_EQ(config.bounce_profiles[1].name, "bulk");
  EXPECT_EQ(config.bounce_profiles[1].initial_retry, seconds(30));
  EXPECT_EQ(config.bounce_profiles[1].max_retries, 7u);
}

TEST(Config, ReadsTheProfileOfTheDestinations) {
  using policy::ControlsProfile;
  EXPECT_EQ(Good("").destinations.profile, ControlsProfile::kCompatible);
  EXPECT_EQ(Good("[destinations]\n").destinations.profile, ControlsProfile::kCompatible);
  EXPECT_EQ(Good("[destinations]\nprofile = \"compatible\"\n").destinations.profile,
            ControlsProfile::kCompatible);
  EXPECT_EQ(Good("[destinations]\nprofile = \"extended\"\n").destinations.profile,
            ControlsProfile::kExtended);
  for (const char* value : {"\"\"", "\"Extended\"", "\"extended \"", "1", "true"}) {
    EXPECT_THAT(ErrorsOf(absl::StrCat("[destinations]\nprofile = ", value, "\n")),
                ElementsAre(HasSubstr(":3: profile: must be ")));
  }
}

// A table that names "default", in any case, means Default.
TEST(ConfigErrors, OfAProfileThatATableCannotName) {
  EXPECT_THAT(ErrorsOf("[[bounce_profile]]\nname = \"default\"\n"),
              ElementsAre(HasSubstr(":3: name: must be written 'Default'")));
  EXPECT_THAT(ErrorsOf("[[bounce_profile]]\nname = \"Slow\"\n[[bounce_profile]]\n"
                       "name = \"slow\"\n"),
              IsEmpty());
}

TEST(ConfigErrors, NameTheMissingHostName) {
  EXPECT_THAT(Errors(""), ElementsAre("/etc/sluice/sluice.toml:1: 'hostname' is missing"));
}

TEST(ConfigErrors, AreAllCollectedInTheOrderOfTheirLines) {
  EXPECT_THAT(
      ErrorsOf("[spool]\n"
               "sync = 1\n"
               "[delivery]\n"
               "port = 0\n"
               "colour = \"red\"\n"
               "[engine]\n"
               "shards = 257\n"),
      ElementsAre("/etc/sluice/sluice.toml:3: sync: must be true or false, not a whole number",
                  "/etc/sluice/sluice.toml:5: port: must be from 1 to 65535, not 0",
                  "/etc/sluice/sluice.toml:6: unknown key 'colour' in [delivery]",
                  "/etc/sluice/sluice.toml:8: shards: must be from 0 to 256, not 257"));
}

TEST(ConfigErrors, NameTheLineOfASyntaxError) {
  EXPECT_THAT(Errors("hostname = \"a.example\"\n\nspool = [\n[dns]\n= 3\n"),
              ElementsAre(testing::ContainsRegex("^/etc/sluice/sluice.toml:[45]: ")));
  EXPECT_THAT(Errors("hostname = \"a.example\"\nhostname = \"b.example\"\n"),
              ElementsAre(StartsWith("/etc/sluice/sluice.toml:2: ")));
}

TEST(ConfigErrors, SuggestTheKeyThatIsOneLetterAway) {
  struct Case {
    absl::string_view written;
    absl::string_view meant;  // Empty: no suggestion.
  };
  for (const Case& c : std::vector<Case>{{"pot", "port"},    // left out
                                         {"portt", "port"},  // added
                                         {"pert", "port"},   // changed
                                         {"prot", "port"},   // swapped
                                         {"xport", "port"},  // at the front
                                         {"pp", ""},
                                         {"trop", ""}}) {
    const std::string expected =
        c.meant.empty()
            ? absl::StrCat("/etc/sluice/sluice.toml:3: unknown key '", c.written, "' in [delivery]")
            : absl::StrCat("/etc/sluice/sluice.toml:3: unknown key '", c.written,
                           "' in [delivery]; did you mean '", c.meant, "'?");
    EXPECT_THAT(ErrorsOf(absl::StrCat("[delivery]\n", c.written, " = 25\n")),
                ElementsAre(expected));
  }
  EXPECT_THAT(ErrorsOf("[spol]\n"),
              ElementsAre("/etc/sluice/sluice.toml:2: unknown key 'spol'; did you mean 'spool'?"));
}

// One mistake each; the line is the second or later of the file.
TEST(ConfigErrors, NameWhatIsWrongWithAValue) {
  struct Case {
    absl::string_view text;
    absl::string_view error;  // A part of it.
  };
  for (const Case& c : std::vector<Case>{
           {"spool = 3", ":2: spool: must be a table, [spool], not a whole number"},
           {"[listener]\naddress = \"127.0.0.1:1\"",
            ":2: listener: must be one or more tables, [[listener]], not a table"},
           {"[engine]\nshards = -1", ":3: shards: must be from 0 to 256, not -1"},
           {"[engine]\nshards = 1.5",
            ":3: shards: must be a whole number, not a number with a fraction"},
           {"[engine]\nshards = \"4\"", ":3: shards: must be a whole number, not a text"},
           {"[delivery]\nport = 65536", ":3: port: must be from 1 to 65535"},
           {"[spool]\npath = \"\"", ":3: path: must name a path"},
           {"[spool]\nmin_free_bytes = -1",
            ":3: min_free_bytes: must be from 0 to 1125899906842624, not -1"},
           {"[spool]\npath = [1]", ":3: path: must be a text in quotes, not a list"},
           {"[dns]\nforward = \"192.0.2.1\"", ":3: forward: must be a list of texts, not a text"},
           {"[dns]\nforward = [\n\"192.0.2.1\",\n\"ns.example\"]", ":5: forward: 'ns.example'"},
           {"[dns]\nforward = [\"192.0.2.1@0\"]", ":3: forward: '192.0.2.1@0'"},
           {"[dns]\nforward = [\"192.0.2.1@65536\"]", ":3: forward: '192.0.2.1@65536'"},
           {"[dns]\nforward = [\"192.0.2.1@\"]", ":3: forward: '192.0.2.1@'"},
           {"[delivery]\nallow_addresses = [\"10.0.0.1/8\"]", ":3: allow_addresses: "},
           {"[delivery]\nallow_addresses = [10]", ":3: allow_addresses: must be a list of texts"},
           {"[[bounce_profile]]\nmax_retries = 3", ":2: 'name' is missing in [[bounce_profile]]"},
           {"[[bounce_profile]]\nname = \"\"", ":3: name: must not be empty"},
           {"[[bounce_profile]]\nname = \"a\"\n[[bounce_profile]]\nname = \"a\"",
            ":5: name: there are two profiles 'a'"},
           {"[[bounce_profile]]\nname = \"Default\"\n[[bounce_profile]]\nname = \"Default\"",
            ":5: name: there are two profiles 'Default'"},
           {"[[bounce_profile]]\nname = \"Default\"\ninitial_retry_s = 0",
            ":4: initial_retry_s: must be from 1 to "},
           {"[[bounce_profile]]\nname = \"a\"\ninitial_retry_s = 61\nmax_retry_s = 60",
            ":5: max_retry_s: is less than initial_retry_s in profile 'a'"},
       }) {
    EXPECT_THAT(ErrorsOf(c.text), ElementsAre(HasSubstr(c.error))) << c.text;
  }
}

TEST(ConfigErrors, NameAHostNameThatIsNone) {
  EXPECT_THAT(Errors("\nhostname = \"mta..example.net\""),
              ElementsAre(StartsWith("/etc/sluice/sluice.toml:2: hostname: ")));
  EXPECT_THAT(Errors("hostname = 5"), ElementsAre(HasSubstr(":1: hostname: must be a text")));
}

TEST(ConfigErrors, OfAListener) {
  struct Case {
    absl::string_view text;
    absl::string_view error;
  };
  for (const Case& c : std::vector<Case>{
           {"listener = []", ":2: listener: at least one is needed"},
           {"[[listener]]", ":2: 'address' is missing in [[listener]]"},
           {"[[listener]]\naddress = \"127.0.0.1\"", ":3: address: '127.0.0.1' is not an address"},
           {"[[listener]]\naddress = \"localhost:25\"", ":3: address: 'localhost:25' is not"},
           {"[[listener]]\naddress = \"127.0.0.1:1\"\nmax_message_bytes = 0",
            ":4: max_message_bytes: must be from 1 to "},
           {"[[listener]]\naddress = \"127.0.0.1:1\"\nrelay_from = [\"10.0.0.0/33\"]",
            ":4: relay_from: "},
           {"[[listener]]\naddress = \"127.0.0.1:1\"\nrelay_from = []", ":4: relay_from: is empty"},
           {"[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"",
            ":5: address: 127.0.0.1:1 is listened on twice"},
       }) {
    EXPECT_THAT(ErrorsOf(c.text), ElementsAre(HasSubstr(c.error))) << c.text;
  }
}

// Only a listener that other machines cannot reach may leave open who injects.
TEST(ConfigErrors, OfAListenerThatWouldTrustTheWorld) {
  for (const absl::string_view address :
       {"0.0.0.0:25", "192.0.2.1:25", "[::]:25", "[2001:db8::1]:25"}) {
    EXPECT_THAT(ErrorsOf(absl::StrCat("[[listener]]\naddress = \"", address, "\"\n")),
                ElementsAre(HasSubstr(":3: address: ")));
    EXPECT_THAT(ErrorsOf(absl::StrCat("[[listener]]\naddress = \"", address,
                                      "\"\nrelay_from = [\"192.0.2.0/24\"]\n")),
                IsEmpty());
  }
  for (const absl::string_view address : {"127.0.0.1:25", "127.8.9.1:25", "[::1]:25"}) {
    EXPECT_THAT(ErrorsOf(absl::StrCat("[[listener]]\naddress = \"", address, "\"\n")), IsEmpty());
  }
}

TEST(Config, ReadsCertificates) {
  const LoadedConfig loaded = ParseConfig(
      "hostname = \"mta.example.net\"\n"
      "[tls]\nca_file = \"ca.pem\"\nalert_address = \"ops@example.net\"\n"
      "[[certificate]]\nname = \"a\"\ncertificate = \"a.pem\"\nkey = \"/k/a.key\"\n"
      "[[listener]]\naddress = \"127.0.0.1:25\"\ncertificate = \"a\"\n",
      "/etc/sluice/sluice.toml");
  EXPECT_THAT(loaded.errors, IsEmpty());
  EXPECT_EQ(loaded.config.ca_file, "/etc/sluice/ca.pem");
  EXPECT_EQ(loaded.config.alert_address, "ops@example.net");
  ASSERT_EQ(loaded.config.certificates.size(), 1u);
  EXPECT_EQ(loaded.config.certificates[0].name, "a");
  EXPECT_EQ(loaded.config.certificates[0].certificate, "/etc/sluice/a.pem");
  EXPECT_EQ(loaded.config.certificates[0].key, "/k/a.key");
  EXPECT_EQ(loaded.config.listeners[0].certificate, "a");
}

TEST(Config, AlertsGoToAnAddressOfMail) {
  for (const char* address : {"operator", "a b@example.net", "ops@exam ple.net", "<a@b.example>",
                              "a@b.example>, <c@d.example"}) {
    const LoadedConfig loaded =
        ParseConfig(absl::StrCat("hostname = \"mta.example.net\"\n[[listener]]\naddress = "
                                 "\"127.0.0.1:25\"\n[tls]\nalert_address = \"",
                                 address, "\"\n"),
                    "sluice.toml");
    ASSERT_EQ(loaded.errors.size(), 1u) << address;
    EXPECT_EQ(loaded.errors[0].line, 5);
  }
}

// Tables named by nothing that could be read would be blamed for what the text leaves out.
TEST(ConfigErrors, WhatIsNoTomlIsNotRead) {
  EXPECT_FALSE(ParseConfig("hostname = \n", "sluice.toml").read);
  EXPECT_FALSE(LoadConfig("/nowhere/sluice.toml").read);
  EXPECT_TRUE(ParseConfig("hostname = 7\n", "sluice.toml").read);
}

TEST(ConfigErrors, OfCertificates) {
  const absl::string_view whole =
      "[[certificate]]\nname = \"a\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
  EXPECT_THAT(ErrorsOf(whole), IsEmpty());
  EXPECT_THAT(ErrorsOf(absl::StrCat(whole, whole)),
              ElementsAre(HasSubstr("there are two certificates 'a'")));
  EXPECT_THAT(ErrorsOf("[[certificate]]\nname = \"a\"\ncertificate = \"a.pem\"\n"),
              ElementsAre(HasSubstr("key")));
}

TEST(Config, ReadsTheKeyOfBounceVerification) {
  const Config config = Good("[bounce_verification]\nkey = \"Cisco_key\"\nkey_number = 9\n");
  EXPECT_EQ(config.bounce_key, "Cisco_key");
  EXPECT_EQ(config.bounce_key_number, 9);
  EXPECT_EQ(Good("").bounce_key, "");
}

TEST(ConfigErrors, OfBounceVerification) {
  EXPECT_THAT(ErrorsOf("[bounce_verification]\n"), ElementsAre(HasSubstr("key")));
  EXPECT_THAT(ErrorsOf("[bounce_verification]\nkey = \"\"\n"), ElementsAre(HasSubstr("empty")));
  EXPECT_THAT(ErrorsOf("[bounce_verification]\nkey = \"a\"\nkey_number = 10\n"),
              ElementsAre(HasSubstr("key_number")));
}

TEST(Config, ReadsSourcesPoolsAndTheirMap) {
  const policy::Sources sources =
      Good(
          "[[source]]\nname = \"vg1\"\nipv4 = \"192.0.2.10\"\nipv6 = \"2001:db8::10\"\n"
          "hostname = \"VG1.example.net.\"\n[[source]]\nname = \"vg2\"\nipv4 = \"192.0.2.11\"\n"
          "[[source_pool]]\nname = \"bulk\"\nsources = [\"vg1\", \"vg2=3\"]\n"
          "[source_map]\n\"news@\" = \"bulk\"\n\"<>\" = \"vg1\"\ndefault = \"vg2\"\n")
          .sources;
  ASSERT_EQ(sources.sources(), 3u);  // With the system's choice.
  EXPECT_EQ(sources.source(1).hostname, "vg1.example.net");
  EXPECT_TRUE(sources.source(1).has(Family::kIpv6));
  EXPECT_FALSE(sources.source(2).has(Family::kIpv6));
  const policy::SourcePool& bulk = sources.pool(sources.PoolFor({}, "news@a.example"));
  EXPECT_EQ(bulk.name, "bulk");
  ASSERT_EQ(bulk.members.size(), 2u);
  EXPECT_EQ(bulk.members[0].weight, 1u);
  EXPECT_EQ(bulk.members[1].weight, 3u);
  EXPECT_EQ(sources.pool(sources.PoolFor({}, "")).name, "vg1");
  EXPECT_EQ(sources.pool(sources.PoolFor({}, "joe@a.example")).name, "vg2");
}

TEST(ConfigErrors, OfSourcesPoolsAndTheirMap) {
  EXPECT_THAT(
      ErrorsOf("[[source]]\nname = \"vg1\"\nipv4 = \"2001:db8::1\"\nipv6 = \"ff02::1\"\n"
               "[[source]]\nname = \"vg1\"\nipv4 = \"0.0.0.0\"\n"
               "[[source]]\nname = \"vg2\"\n"
               "[[source_pool]]\nname = \"vg2\"\nsources = []\n"
               "[[source_pool]]\nname = \"p\"\n"
               "sources = [\"vg1\", \"vg1=2\", \"vg3\", \"vg2=1001\"]\n"
               "[source_map]\n\"news\" = \"vg1\"\n\"a@x.example\" = \"vg9\"\n"
               "\"A@X.example\" = \"vg1\"\ndefault = 1\n"),
      ElementsAre(HasSubstr(":4: ipv4: "), HasSubstr(":5: ipv6: "), HasSubstr(":7: name: "),
                  HasSubstr(":8: ipv4: "), HasSubstr(":9: [[source]]: "), HasSubstr(":12: name: "),
                  HasSubstr(":13: sources: "), HasSubstr(":16: sources: 'vg1=2'"),
                  HasSubstr(":16: sources: 'vg3'"), HasSubstr(":16: sources: 'vg2=1001'"),
                  HasSubstr("'news' is no rule"), HasSubstr("'a@x.example' names 'vg9'"),
                  HasSubstr("'A@X.example' stands twice"), HasSubstr("'default' must name")));
}

TEST(Config, ReadsCapsOfTheWholeEngine) {
  EXPECT_EQ(Good("").connections_max, 0u);
  EXPECT_EQ(Good("").handshakes_max, 0u);
  EXPECT_EQ(Good("[delivery]\nconnections_max = 5000\n").connections_max, 5000u);
  EXPECT_EQ(Good("[tls]\nhandshakes_max = 40\n").handshakes_max, 40u);
  EXPECT_THAT(ErrorsOf("[delivery]\nconnections_max = -1\n[tls]\nhandshakes_max = \"x\"\n"),
              ElementsAre(HasSubstr(":3: connections_max: "), HasSubstr(":5: handshakes_max: ")));
}

TEST(ConfigErrors, SayWhatThisVersionDoesNotServe) {
  EXPECT_THAT(ErrorsOf("[control]\nhttp = \"127.0.0.1:8025\"\n"),
              ElementsAre(HasSubstr(":3: http: this version does not serve HTTP")));
}

TEST(ConfigErrors, OfAControlSocketWhosePathIsTooLong) {
  // sun_path has 108 bytes, with the final zero.
  const std::string fits(106, 's');
  EXPECT_THAT(ErrorsOf(absl::StrCat("[control]\nsocket = \"/", fits, "\"\n")), IsEmpty());
  EXPECT_THAT(ErrorsOf(absl::StrCat("[control]\nsocket = \"/", fits, "s\"\n")),
              ElementsAre(HasSubstr(":3: socket: ")));
}

TEST(ConfigFile, ThatIsNotThereIsAnError) {
  const std::string path = testing::TempDir() + "no-such-sluice.toml";
  const LoadedConfig loaded = LoadConfig(path);
  ASSERT_EQ(loaded.errors.size(), 1u);
  EXPECT_EQ(loaded.errors[0].ToString(),
            absl::StrCat(path, ":1: cannot be read: No such file or directory"));
}

TEST(ConfigFile, ThatIsAFolderIsAnError) {
  const LoadedConfig loaded = LoadConfig(testing::TempDir());
  ASSERT_EQ(loaded.errors.size(), 1u);
  EXPECT_THAT(loaded.errors[0].text, StartsWith("cannot be read: "));
}

}  // namespace
}  // namespace sluice
