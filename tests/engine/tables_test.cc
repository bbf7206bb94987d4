// The tables beside the configuration, as files: which may be missing, and where errors are said to
// be. What the tables themselves take is tested beside them (tests/policy, tests/engine/dns).

#include "engine/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

std::string PathOf(const std::string& name) {
  return testing::TempDir() + "sluice-" + name;
}

std::string Written(const std::string& name, const std::string& text) {
  std::ofstream(PathOf(name)) << text;
  return PathOf(name);
}

LoadedControls Controls(const std::string& name, const std::string& text,
                        policy::ControlsProfile profile = policy::ControlsProfile::kCompatible) {
  return LoadControls({.path = Written(name, text), .named = true, .profile = profile});
}

LoadedRoutes Routes(const std::string& name, const std::string& text, uint16_t default_port) {
  return LoadRoutes({.path = Written(name, text), .named = true}, default_port);
}

TEST(ControlsTableFile, MayBeMissingAtItsDefaultPlace) {
  const LoadedControls loaded = LoadControls({.path = PathOf("missing"), .named = false});
  EXPECT_THAT(loaded.errors, IsEmpty());
  EXPECT_THAT(loaded.entries, IsEmpty());
}

TEST(ControlsTableFile, MustBeThereWhenItIsNamed) {
  const LoadedControls loaded = LoadControls({.path = PathOf("missing"), .named = true});
  ASSERT_THAT(loaded.errors, SizeIs(1));
  EXPECT_EQ(loaded.errors[0].ToString(),
            PathOf("missing") + ":1: cannot be read: No such file or directory");
}

TEST(ControlsTableFile, IsReadAndItsErrorsNameFileAndLine) {
  const LoadedControls good =
      Controls("good.ini", "[example.com]\nmax_messages_per_connection = 7\n");
  EXPECT_THAT(good.errors, IsEmpty());
  ASSERT_THAT(good.entries, SizeIs(1));
  EXPECT_EQ(good.entries[0].messages_per_connection_max, 7u);

  const LoadedControls bad =
      Controls("bad.ini", "[example.com]\nmax_messages_per_connection = many\n");
  ASSERT_THAT(bad.errors, SizeIs(1));
  EXPECT_THAT(bad.errors[0].ToString(), StartsWith(PathOf("bad.ini") + ":2: "));
}

// The errors of a configuration with two profiles and this table.
std::vector<std::string> ProfileErrors(const std::string& table) {
  Config config;
  config.hostname = "mta.example.net";
  config.destinations = {.path = Written("profiles.ini", table), .named = true};
  config.routes = {.path = PathOf("missing"), .named = false};
  config.bounce_profiles = {{.name = "Default"}, {.name = "Slow"}};
  return LinesOf(LoadTables(config, WallTime{}).errors);
}

TEST(ControlsTableFile, NamesOnlyBounceProfilesOfTheConfiguration) {
  EXPECT_THAT(ProfileErrors("[a.example]\nbounce_profile = Slow\n"
                            "[b.example]\nbounce_profile = DEFAULT\n"),
              IsEmpty());
  EXPECT_THAT(
      ProfileErrors("[a.example]\ntable_tls = off\nbounce_profile = slow\n"
                    "[b.example]\nbounce_profile = Slow\n"
                    "[c.example]\nbounce_profile = fast\n"),
      ElementsAre(PathOf("profiles.ini") + ":1: bounce_profile 'slow' is not in sluice.toml",
                  PathOf("profiles.ini") + ":6: bounce_profile 'fast' is not in sluice.toml"));
  const std::string text = "[a.example]\nbounce_profile = fast\n";
  Config config;
  config.destinations = {.path = PathOf("missing"), .named = false};
  config.routes = {.path = PathOf("missing"), .named = false};
  EXPECT_THAT(LinesOf(LoadTables(config, WallTime{}, &text).errors),
              ElementsAre(PathOf("missing") + ":1: bounce_profile 'fast' is not in sluice.toml"));
}

TEST(ControlsTableFile, TagsNeedAKey) {
  const std::string text = "[a.example]\ntable_tls = off\n[b.example]\nbounce_validation = on\n";
  Config config;
  config.destinations = {.path = PathOf("missing"), .named = false};
  config.routes = {.path = PathOf("missing"), .named = false};
  EXPECT_THAT(LinesOf(LoadTables(config, WallTime{}, &text).errors),
              ElementsAre(PathOf("missing") + ":3: bounce_validation = on needs a key: "
                                              "[bounce_verification] in sluice.toml"));
  config.bounce_key = "a key";
  EXPECT_THAT(LoadTables(config, WallTime{}, &text).errors, IsEmpty());
}

TEST(ControlsTableFile, TakesMoreWhereTheProfileIsExtended) {
  const std::string text = "[a.example]\nmax_messages_per_connection = 1000000\n";
  const LoadedControls compatible = Controls("high.ini", text);
  ASSERT_THAT(compatible.errors, SizeIs(1));
  EXPECT_EQ(
      compatible.errors[0].ToString(),
      PathOf("high.ini") +
          ":2: max_messages_per_connection = \"1000000\": must be a whole "
          "number from 1 to 1000; profile = \"extended\" in [destinations] of sluice.toml allows "
          "up to 1000000");
  const LoadedControls extended = Controls("high.ini", text, policy::ControlsProfile::kExtended);
  EXPECT_THAT(extended.errors, IsEmpty());
  ASSERT_THAT(extended.entries, SizeIs(1));
  EXPECT_EQ(extended.entries[0].messages_per_connection_max, 1'000'000u);
  // Also of a text that is to be put in place.
  Config config;
  config.destinations = {.path = PathOf("missing"), .profile = policy::ControlsProfile::kExtended};
  config.routes = {.path = PathOf("missing"), .named = false};
  config.ca_file = PathOf("missing");
  EXPECT_THAT(LinesOf(LoadTables(config, WallTime{}, &text).errors), IsEmpty());
}

TEST(RoutesTableFile, MayBeMissingAtItsDefaultPlace) {
  const LoadedRoutes loaded = LoadRoutes({.path = PathOf("missing"), .named = false}, 25);
  EXPECT_THAT(loaded.errors, IsEmpty());
  EXPECT_EQ(loaded.table.size(), 0u);
}

TEST(RoutesTableFile, MustBeThereWhenItIsNamed) {
  const LoadedRoutes loaded = LoadRoutes({.path = PathOf("missing"), .named = true}, 25);
  ASSERT_THAT(loaded.errors, SizeIs(1));
  EXPECT_THAT(loaded.errors[0].ToString(), StartsWith(PathOf("missing") + ":1: cannot be read"));
}

TEST(RoutesTableFile, IsReadWithTheDefaultPortAndItsErrorsNameFileAndLine) {
  const LoadedRoutes good = Routes("routes", "example.com mx.example.net\n", 2525);
  EXPECT_THAT(good.errors, IsEmpty());
  const std::vector<dns::TableHost>* hosts = good.table.Lookup("example.com");
  ASSERT_NE(hosts, nullptr);
  ASSERT_THAT(*hosts, SizeIs(1));
  EXPECT_EQ((*hosts)[0].port, 2525);

  const LoadedRoutes bad = Routes("routes-bad", "\nexample.com mx.example:99999\n", 25);
  ASSERT_THAT(bad.errors, SizeIs(1));
  EXPECT_THAT(bad.errors[0].ToString(), StartsWith(PathOf("routes-bad") + ":2: "));
}

}  // namespace
}  // namespace sluice
