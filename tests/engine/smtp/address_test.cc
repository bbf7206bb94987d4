// Paths of MAIL and RCPT by the grammar of RFC 5321 4.1.2: what is taken, what it becomes, what is
// refused, and every bound at it and one over.

#include "engine/smtp/address.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

absl::StatusOr<Mailbox> Recipient(absl::string_view path) {
  return ParseForwardPath(path, "");
}

bool IsRecipient(absl::string_view path) {
  return Recipient(path).ok();
}

TEST(Address, IsTakenUpToItsBracketAndMovedPast) {
  absl::string_view input = "<User@Example.COM> SIZE=1";
  const absl::StatusOr<Mailbox> mailbox = ParseReversePath(input);
  ASSERT_TRUE(mailbox.ok());
  EXPECT_EQ(mailbox->address, "User@Example.COM");
  EXPECT_EQ(mailbox->destination, "example.com");
  EXPECT_FALSE(mailbox->null());
  EXPECT_EQ(input, " SIZE=1");
}

TEST(Address, ThatIsRefusedLeavesTheInputAlone) {
  absl::string_view input = "<user@> SIZE=1";
  EXPECT_FALSE(ParseReversePath(input).ok());
  EXPECT_EQ(input, "<user@> SIZE=1");
}

TEST(Address, MayBeNullForASenderOnly) {
  absl::string_view input = "<>";
  const absl::StatusOr<Mailbox> sender = ParseReversePath(input);
  ASSERT_TRUE(sender.ok());
  EXPECT_TRUE(sender->null());
  EXPECT_EQ(sender->destination, "");
  EXPECT_EQ(input, "");
  EXPECT_FALSE(IsRecipient("<>"));
}

TEST(Address, TakesTheWholeGrammar) {
  const struct {
    absl::string_view path;
    absl::string_view address;
    absl::string_view destination;
  } kCases[] = {
      {"<a@b.example>", "a@b.example", "b.example"},
      {"<a.b.c@b.example>", "a.b.c@b.example", "b.example"},
      {"<!#$%&'*+-/=?^_`{|}~@b.example>", "!#$%&'*+-/=?^_`{|}~@b.example", "b.example"},
      {"<a@localhost>", "a@localhost", "localhost"},
      {"<a@Xn--Bcher-Kva.example>", "a@Xn--Bcher-Kva.example", "xn--bcher-kva.example"},
      {"<\"a b\"@b.example>", "\"a b\"@b.example", "b.example"},
      {"<\"a@b>c\"@b.example>", "\"a@b>c\"@b.example", "b.example"},
      {"<\"a\\\"b\\\\\"@b.example>", "\"a\\\"b\\\\\"@b.example", "b.example"},
      {"<\"\"@b.example>", "\"\"@b.example", "b.example"},
      {"<a%c.example@b.example>", "a%c.example@b.example", "b.example"},
      {"<c.example!a@b.example>", "c.example!a@b.example", "b.example"},
      {"<a@[192.0.2.1]>", "a@[192.0.2.1]", "[192.0.2.1]"},
      {"<a@[IPv6:2001:DB8:0::1]>", "a@[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"},
      // Dropped: a source route, and the root's dot (R5).
      {"<@r.example:a@b.example>", "a@b.example", "b.example"},
      {"<@r.example,@[192.0.2.1],@s.example:a@b.example>", "a@b.example", "b.example"},
      {"<a@Example.COM.>", "a@Example.COM", "example.com"},
  };
  for (const auto& [path, address, destination] : kCases) {
    const absl::StatusOr<Mailbox> mailbox = Recipient(path);
    ASSERT_TRUE(mailbox.ok()) << path << ": " << mailbox.status();
    EXPECT_EQ(mailbox->address, address);
    EXPECT_EQ(mailbox->destination, destination);
  }
}

TEST(Address, RefusesWhatIsNoPath) {
  for (const absl::string_view path : {"",
                                       "a@b.example",
                                       "<a@b.example",
                                       "<",
                                       "< a@b.example>",
                                       "<a@b.example >",
                                       "<a>",
                                       "<a@>",
                                       "<@b.example>",
                                       "<a@@b.example>",
                                       "<a@b@c.example>",
                                       "<.a@b.example>",
                                       "<a.@b.example>",
                                       "<a..b@b.example>",
                                       "<a b@b.example>",
                                       "<a(c)@b.example>",
                                       "<a,b@b.example>",
                                       "<\"a@b.example>",
                                       "<a\"b\"@b.example>",
                                       "<\"a\"b@b.example>",
                                       "<\"a\\\"@b.example>",
                                       "<a@b..example>",
                                       "<a@.example>",
                                       "<a@b.example..>",
                                       "<a@.>",
                                       "<a@b_(c).example>",
                                       "<a@[192.0.2.256]>",
                                       "<a@[192.0.2.1>",
                                       "<a@[2001:db8::1]>",
                                       "<a@[]>",
                                       "<<a@b.example>>",
                                       "<a@<b.example>",
                                       "<@r.example a@b.example>",
                                       "<@r.example:>",
                                       "<@r.example,s.example:a@b.example>",
                                       "<@:a@b.example>",
                                       "<@r.example,:a@b.example>"}) {
    EXPECT_FALSE(IsRecipient(path)) << path;
  }
}

TEST(Address, HoldsItsBounds) {
  const std::string local(64, 'l');
  EXPECT_TRUE(IsRecipient(absl::StrCat("<", local, "@b.example>")));
  EXPECT_FALSE(IsRecipient(absl::StrCat("<", local, "l@b.example>")));
  const std::string quoted = absl::StrCat("\"", std::string(62, 'q'), "\"");
  EXPECT_TRUE(IsRecipient(absl::StrCat("<", quoted, "@b.example>")));
  EXPECT_FALSE(IsRecipient(absl::StrCat("<\"q", quoted.substr(1), "@b.example>")));

  // Three labels of 63 and their dots are 192 octets: with "<", a local part, "@" and ">" 195 and
  // it.
  const std::string label(63, 'd');
  const std::string domain = absl::StrCat(label, ".", label, ".", label);
  ASSERT_EQ(domain.size(), 191u);
  EXPECT_TRUE(IsRecipient(absl::StrCat("<", std::string(62, 'l'), "@", domain, ">")));   // 256
  EXPECT_FALSE(IsRecipient(absl::StrCat("<", std::string(63, 'l'), "@", domain, ">")));  // 257
  EXPECT_FALSE(IsRecipient(absl::StrCat("<a@d", label, ".example>")));
  // A route counts as part of the path: "<@r.example:a@" and ">" are 15.
  EXPECT_TRUE(IsRecipient(absl::StrCat("<@r.example:", std::string(50, 'l'), "@", domain, ">")));
  EXPECT_FALSE(IsRecipient(absl::StrCat("<@r.example:", std::string(52, 'l'), "@", domain, ">")));
}

TEST(Address, OfPostmasterAloneBelongsHere) {
  absl::string_view input = "<PostMaster>";
  const absl::StatusOr<Mailbox> mailbox = ParseForwardPath(input, "MX.example.net");
  ASSERT_TRUE(mailbox.ok());
  EXPECT_EQ(mailbox->address, "PostMaster@MX.example.net");
  EXPECT_EQ(mailbox->destination, "mx.example.net");
  EXPECT_FALSE(IsRecipient("<postmaster>"));
  input = "<root>";
  EXPECT_FALSE(ParseForwardPath(input, "mx.example.net").ok());
  input = "<postmaster>";
  EXPECT_FALSE(ParseReversePath(input).ok());
}

// F13, F17: each of 256 bytes at each position. No control and no 8-bit byte ever passes.
TEST(Address, LetsNoByteThroughThatIsNotPrintable) {
  for (const absl::string_view path : {"<ab@c.example>", "<\"ab\"@c.example>", "<@r.ex:a@c.ex>"}) {
    for (int byte = 0; byte < 256; ++byte) {
      for (size_t position = 1; position < path.size(); ++position) {
        std::string changed(path);
        changed.insert(position, 1, static_cast<char>(byte));
        const absl::StatusOr<Mailbox> mailbox = Recipient(changed);
        if (byte > 0x7f) {
          EXPECT_TRUE(absl::IsUnimplemented(mailbox.status())) << changed;
        } else if (byte < 0x20 || byte == 0x7f) {
          EXPECT_TRUE(absl::IsInvalidArgument(mailbox.status())) << changed;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::smtp
