// The sentence that says what holds a destination's mail back: for each limit its numbers, since
// when, until when. The report is made by hand at 14:00:00 UTC of 2026-01-02; the sentences are
// those that an operator should read.

#include "engine/held_by.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

namespace sluice {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const Now kNow = {.instant = Instant(hours(100)), .wall = WallTime(seconds(1767362400))};

class HeldByTest : public testing::Test {
 protected:
  HeldByTest() {
    report_.domain = "example.com";
    report_.now = kNow;
    report_.counters.active = 5;
    report_.status.emplace();
    lane().waiting = 3;
  }

  delivery::DestinationStatus& status() { return *report_.status; }
  delivery::LaneStatus& lane() {
    if (status().lanes.empty()) status().lanes.emplace_back();
    return status().lanes[0];
  }
  // For ten minutes.
  delivery::LaneStatus& Binds(absl::string_view what) {
    lane().binding = what;
    lane().binding_since = kNow.instant - minutes(10);
    return lane();
  }
  void Limits(uint32_t connections, uint32_t recipients) {
    status().controls.limits = {.connections_max = connections,
                                .recipients_limited = true,
                                .recipients_max = recipients,
                                .recipient_period = minutes(60)};
  }
  void Scope(uint32_t connections, uint64_t recipients, Instant room_again = kNever,
             policy::ScopeKey key = {}, const std::string& source = "") {
    status().scopes.push_back({.counts = {.key = key,
                                          .connections = connections,
                                          .recipients = recipients,
                                          .room_again = room_again},
                               .source = source});
  }
  std::string Says() const { return HeldBy(report_, absl::UTCTimeZone()); }

  HostReport report_;
};

TEST_F(HeldByTest, NothingWhereNothingWaits) {
  report_.counters.active = 0;
  report_.status.reset();
  EXPECT_EQ(Says(), "nothing waits");
}

TEST_F(HeldByTest, NothingWhileItIsDelivered) {
  lane().connections = 2;
  EXPECT_EQ(Says(), "nothing holds it back; it is delivered by 2 connections");
}

TEST_F(HeldByTest, TheNextAttemptWhereAllOfItIsAtHome) {
  lane().waiting = 0;
  lane().connections = 1;
  lane().idle = 1;
  EXPECT_EQ(Says(),
            "nothing holds it back; 5 recipients to be tried again at the time of the next "
            "attempt");
}

TEST_F(HeldByTest, ASuspensionBeforeAllElse) {
  Binds("hosts");
  report_.suspension = {.domain = "example.com", .since = kNow.wall - minutes(1), .reason = "x y"};
  EXPECT_EQ(Says(), "suspended: x y; since 13:59:00, until it is resumed");
  report_.suspension->domain = ".com";
  report_.suspension->until = kNow.wall + hours(24);
  EXPECT_EQ(Says(), "suspended with .com: x y; since 13:59:00, until 2026-01-03 14:00:00");
  report_.suspension->domain = "";
  EXPECT_EQ(Says(), "suspended with ALL: x y; since 13:59:00, until 2026-01-03 14:00:00");
}

TEST_F(HeldByTest, Connections) {
  Limits(7, 100);
  Scope(7, 20);
  Binds("concurrency");
  EXPECT_EQ(Says(), "concurrency: 7 of 7 connections; since 13:50:00, until one ends");
}

TEST_F(HeldByTest, ConnectionsOfTheSystem) {
  status().controls.system.connections_max = 1;
  status().system.connections = 1;
  Binds("system_concurrency");
  EXPECT_EQ(Says(),
            "system_concurrency: 1 of 1 connection of the whole destination; since 13:50:00, until "
            "one ends");
}

TEST_F(HeldByTest, Recipients) {
  Limits(7, 100);
  Scope(2, 100, kNow.instant + minutes(5) + seconds(12));
  Binds("recipients");
  EXPECT_EQ(
      Says(),
      "recipients: 100 of 100 in the last 60 minutes; since 13:50:00, room again at 14:05:12");
}

TEST_F(HeldByTest, RecipientsThatAreAllUnderWay) {
  Limits(7, 1);
  status().controls.limits.recipient_period = minutes(1);
  Scope(2, 1);
  Binds("recipients");
  EXPECT_EQ(Says(),
            "recipients: 1 of 1 in the last 1 minute; since 13:50:00, until what is under way has "
            "ended");
}

TEST_F(HeldByTest, RecipientsUnderALimitOfNone) {
  Limits(7, 0);
  Scope(0, 0);
  Binds("recipients");
  EXPECT_EQ(Says(), "recipients: the limit is 0; since 13:50:00, until the table changes");
}

TEST_F(HeldByTest, RecipientsOfTheScopeThatHasRoomFirst) {
  Limits(7, 100);
  status().controls.scope = {.each_address = true, .each_source = true};
  Scope(1, 100, kNow.instant + minutes(9), {.address = *IpAddress::Parse("192.0.2.1")}, "vg1");
  Scope(1, 100, kNow.instant + minutes(3), {.address = *IpAddress::Parse("192.0.2.2")}, "");
  Scope(1, 40, kNever, {.address = *IpAddress::Parse("192.0.2.3")}, "vg1");
  Binds("recipients");
  EXPECT_EQ(Says(),
            "recipients: 100 of 100 at 192.0.2.2 from the system's source in the last 60 minutes; "
            "since 13:50:00, room again at 14:03:00");
}

TEST_F(HeldByTest, RecipientsOfTheSystem) {
  status().controls.system.recipients_limited = true;
  status().controls.system.recipients_max = 50;
  status().controls.system.recipient_period = minutes(30);
  status().system.recipients = 50;
  status().system.room_again = kNow.instant + seconds(1);
  Binds("system_recipients");
  EXPECT_EQ(Says(),
            "system_recipients: 50 of 50 of the whole destination in the last 30 minutes; since "
            "13:50:00, room again at 14:00:01");
}

TEST_F(HeldByTest, AHostThatFailsBesideOthers) {
  Binds("hosts").not_before = kNow.instant + seconds(5);
  EXPECT_EQ(Says(), "hosts: one has just failed; since 13:50:00, tried again at 14:00:05");
}

TEST_F(HeldByTest, HostsThatFail) {
  Binds("hosts").failures = 3;
  lane().not_before = kNow.instant + seconds(90);
  EXPECT_EQ(Says(),
            "hosts: no host gave a session, 3 times in a row; since 13:50:00, tried again at "
            "14:01:30");
}

TEST_F(HeldByTest, TheRoute) {
  Binds("route");
  EXPECT_EQ(Says(), "route: its hosts are being looked up; since 13:50:00");
  lane().failures = 1;
  lane().not_before = kNow.instant + seconds(60);
  status().route.reason = "no name server answers";
  EXPECT_EQ(Says(),
            "route: its hosts could not be looked up, 1 time in a row (no name server answers); "
            "since 13:50:00, asked again at 14:01:00");
}

TEST_F(HeldByTest, WhatThereIsNoneOf) {
  const std::pair<const char*, const char*> kReasons[] = {
      {"ip_preference", "no host has an address as REQUIRE_V6 asks for"},
      {"source_family", "no source of the pool has an address of a family that the hosts have"},
      {"source_suspended", "the addresses of the pool's sources are not on this machine"},
      {"engine_connections", "the engine has no connection left"},
      {"engine_handshakes", "the engine has no TLS handshake left"},
  };
  status().controls.ip_preference = policy::IpPreference::kRequireV6;
  for (const auto& [binding, reason] : kReasons) {
    Binds(binding).look_again = kNow.instant + seconds(5);
    EXPECT_EQ(Says(), std::string(binding) + ": " + reason +
                          "; since 13:50:00, looked for again at 14:00:05");
  }
}

TEST_F(HeldByTest, WhatHoldsMostOfIt) {
  Limits(7, 0);
  Scope(7, 0);
  Binds("hosts").failures = 1;
  status().lanes.push_back(
      {.pool = "vg", .waiting = 9, .binding = "concurrency", .binding_since = kNow.instant});
  status().lanes.push_back({.pool = "free", .waiting = 20});
  EXPECT_EQ(Says(), "concurrency: 7 of 7 connections; since 14:00:00, until one ends");
}

}  // namespace
}  // namespace sluice
