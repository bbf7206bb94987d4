// The sink's counts: connections of ports and domains, messages and recipients, duplicates and
// damage, each against a count by hand.

#include "tools/sink/tally.h"

#include <gtest/gtest.h>

namespace sluice::tools {
namespace {

using std::chrono::seconds;
using Verdict = ProbeReader::Verdict;

class TallyTest : public ::testing::Test {
 protected:
  static smtp::EnvelopeRecipient To(const std::string& local, const std::string& domain) {
    smtp::EnvelopeRecipient recipient;
    recipient.address = local + "@" + domain;
    recipient.destination = domain;
    return recipient;
  }

  // MAIL, RCPTs and the message on a connection.
  void Send(Tally& tally, Tally::Connection& connection,
            const std::vector<smtp::EnvelopeRecipient>& recipients, uint64_t number,
            bool answered = true) {
    tally.MailSeen(connection);
    for (const auto& recipient : recipients) {
      tally.RecipientSeen(connection, recipient.destination, Instant());
    }
    tally.MessageTaken(connection, {.recipients = recipients,
                                    .bytes = 100,
                                    .verdict = Verdict::kIntact,
                                    .probe = Probe{.id = {.run = 1, .number = number}},
                                    .answered = answered});
  }

  const Counts& Domain(const Tally& tally, absl::string_view name) {
    for (const Counts& row : tally.domains()) {
      if (absl::string_view(row.name) == name) return row;
    }
    ADD_FAILURE() << "no row";
    return tally.total();
  }

  Tally::Options options_{.windows = {seconds(60)}, .ports = {"a:1", "a:2"}};
};

TEST_F(TallyTest, CountsConnectionsOfPortsNowAndAtTheMost) {
  Tally tally(options_);
  Tally::Connection first, second, third;
  tally.Connected(first, 0);
  tally.Connected(second, 0);
  tally.Connected(third, 1);
  tally.Gone(first);
  EXPECT_EQ(tally.total().connections_peak, 3u);
  EXPECT_EQ(tally.ports()[0].connections_peak, 2u);
  EXPECT_EQ(tally.ports()[0].connections_now, 1u);
  EXPECT_EQ(tally.ports()[1].connections_peak, 1u);
  tally.Gone(second);
  tally.Connected(first, 0);
  EXPECT_EQ(tally.ports()[0].connections_peak, 2u);
  EXPECT_EQ(tally.ports()[0].connections, 3u);
}

TEST_F(TallyTest, CountsConnectionsOfADomainFromItsFirstRecipient) {
  Tally tally(options_);
  Tally::Connection first, second;
  tally.Connected(first, 0);
  tally.Connected(second, 0);
  Send(tally, first, {To("a", "x.example")}, 1);
  Send(tally, first, {To("a", "x.example")}, 2);
  EXPECT_EQ(Domain(tally, "x.example").connections_now, 1u);
  Send(tally, second, {To("a", "x.example"), To("a", "y.example")}, 3);
  tally.Gone(first);
  EXPECT_EQ(Domain(tally, "x.example").connections_peak, 2u);
  EXPECT_EQ(Domain(tally, "x.example").connections_now, 1u);
  EXPECT_EQ(Domain(tally, "y.example").connections_peak, 1u);
  tally.Gone(second);
  EXPECT_EQ(Domain(tally, "y.example").connections_now, 0u);
}

TEST_F(TallyTest, CountsMailCommandsOnAConnectionTakenOrNot) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  Send(tally, connection, {To("a", "x.example")}, 1);
  tally.MailSeen(connection);
  tally.MailSeen(connection);
  tally.RecipientSeen(connection, "x.example", Instant());
  tally.RecipientSeen(connection, "x.example", Instant());
  tally.Gone(connection);
  tally.Connected(connection, 0);
  tally.MailSeen(connection);
  EXPECT_EQ(tally.total().messages_on_connection_max, 3u);
  EXPECT_EQ(tally.total().messages, 1u);
  EXPECT_EQ(Domain(tally, "x.example").messages_on_connection_max, 2u);
}

TEST_F(TallyTest, CountsRefusedRecipientsToo) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 1);
  tally.MailSeen(connection);
  tally.RecipientSeen(connection, "x.example", Instant() + seconds(1));
  tally.RecipientSeen(connection, "x.example", Instant() + seconds(2));
  for (const Counts* row : {&tally.total(), &tally.ports()[1], &tally.domains()[0]}) {
    EXPECT_EQ(row->recipients, 2u);
    EXPECT_EQ(row->recipients_taken, 0u);
    EXPECT_EQ(row->windows.peak(0), 2u);
  }
  EXPECT_EQ(tally.ports()[0].recipients, 0u);
}

TEST_F(TallyTest, CountsAMessageOnceInEachDomain) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  Send(tally, connection, {To("a", "x.example"), To("b", "y.example"), To("c", "x.example")}, 1);
  EXPECT_EQ(tally.total().messages, 1u);
  EXPECT_EQ(tally.total().bytes, 100u);
  EXPECT_EQ(Domain(tally, "x.example").messages, 1u);
  EXPECT_EQ(Domain(tally, "x.example").recipients_taken, 2u);
  EXPECT_EQ(Domain(tally, "y.example").bytes, 100u);
}

TEST_F(TallyTest, FindsDuplicatesByIdAndRecipient) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  Send(tally, connection, {To("a", "x.example")}, 1);
  Send(tally, connection, {To("b", "x.example")}, 1);  // The same message to another.
  Send(tally, connection, {To("a", "x.example")}, 2);  // Another message to the same.
  EXPECT_EQ(tally.total().duplicates, 0u);
  Send(tally, connection, {To("a", "x.example")}, 1);
  EXPECT_EQ(tally.total().duplicates, 1u);
  EXPECT_EQ(tally.total().duplicates_excused, 0u);
  EXPECT_EQ(Domain(tally, "x.example").duplicates, 1u);
}

TEST_F(TallyTest, ExcusesOneDuplicateOfEachCopyWithoutAnswer) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  Send(tally, connection, {To("a", "x.example")}, 1, false);
  Send(tally, connection, {To("a", "x.example")}, 1);
  EXPECT_EQ(tally.total().duplicates_excused, 1u);
  Send(tally, connection, {To("a", "x.example")}, 1);  // It had been told 250.
  EXPECT_EQ(tally.total().duplicates, 2u);
  EXPECT_EQ(tally.total().duplicates_excused, 1u);
}

TEST_F(TallyTest, CountsDamageAndMissingProbes) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  const std::vector<smtp::EnvelopeRecipient> recipients{To("a", "x.example")};
  tally.MessageTaken(connection,
                     {.recipients = recipients, .verdict = Verdict::kDamaged, .probe = Probe{}});
  tally.MessageTaken(connection,
                     {.recipients = recipients, .verdict = Verdict::kNoProbe, .probe = {}});
  EXPECT_EQ(tally.total().damaged, 1u);
  EXPECT_EQ(tally.total().without_probe, 1u);
  EXPECT_EQ(Domain(tally, "x.example").damaged, 1u);
  EXPECT_EQ(tally.total().duplicates, 0u);
}

TEST_F(TallyTest, CountsMessagesByBdatInEachRow) {
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  const std::vector<smtp::EnvelopeRecipient> recipients{To("a", "x.example"), To("b", "x.example")};
  tally.MessageTaken(connection, {.recipients = recipients, .probe = {}, .chunked = true});
  tally.MessageTaken(connection, {.recipients = recipients, .probe = {}});
  for (const Counts* row : {&tally.total(), &tally.ports()[0], &tally.domains()[0]}) {
    EXPECT_EQ(row->messages, 2u);
    EXPECT_EQ(row->chunked, 1u);
  }
  EXPECT_EQ(tally.ports()[1].chunked, 0u);
}

TEST_F(TallyTest, AtItsBoundsGoesOnAndSaysSo) {
  options_.domains_max = 1;
  options_.remembered_max = 1;
  Tally tally(options_);
  Tally::Connection connection;
  tally.Connected(connection, 0);
  Send(tally, connection, {To("a", "x.example")}, 1);
  EXPECT_TRUE(tally.all_remembered());
  Send(tally, connection, {To("a", "y.example")}, 2);
  Send(tally, connection, {To("a", "z.example")}, 3);
  EXPECT_FALSE(tally.all_remembered());
  ASSERT_EQ(tally.domains().size(), 2u);
  EXPECT_EQ(Domain(tally, "(others)").messages, 2u);
}

TEST_F(TallyTest, FollowsSixtyFourDomainsOfAConnection) {
  for (const size_t domains : {size_t{64}, size_t{65}}) {
    Tally tally(options_);
    Tally::Connection connection;
    tally.Connected(connection, 0);
    for (size_t i = 0; i < domains; ++i) {
      Send(tally, connection, {To("a", "d" + std::to_string(i) + ".example")}, i);
    }
    tally.Gone(connection);
    EXPECT_EQ(tally.connections_over_bound(), domains - 64);
    EXPECT_EQ(tally.domains().back().recipients, 1u);
    EXPECT_EQ(tally.domains().back().connections, domains == 64 ? 1u : 0u);
  }
}

}  // namespace
}  // namespace sluice::tools
