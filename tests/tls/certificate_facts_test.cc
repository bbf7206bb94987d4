#include "tls/certificate_facts.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"

namespace sluice::tls {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

CertificateFacts FactsOfLeaf(const Recipe& recipe) {
  const Made root = Make(CaRecipe("root"));
  std::optional<CertificateFacts> facts = FactsOf(Make(recipe, &root).der);
  EXPECT_TRUE(facts.has_value());
  return facts.value_or(CertificateFacts{});
}

TEST(CertificateFacts, SaysWhatStandsInIt) {
  const CertificateFacts facts =
      FactsOfLeaf(LeafRecipe("a.example").With("subjectAltName", "DNS:a.example,IP:192.0.2.1"));
  EXPECT_EQ(facts.subject, "CN=a.example");
  EXPECT_EQ(facts.issuer, "CN=root");
  EXPECT_EQ(facts.not_before, "2026-06-01 12:00:00 UTC");
  EXPECT_EQ(facts.not_after, "2026-08-30 12:00:00 UTC");
  EXPECT_THAT(facts.names, ElementsAre("a.example", "192.0.2.1"));
  EXPECT_EQ(facts.key, "EC 256");
  EXPECT_EQ(facts.signature, "ecdsa-with-SHA256");
}

TEST(CertificateFacts, NamesTheKeyAndItsSize) {
  EXPECT_EQ(FactsOfLeaf(LeafRecipe("a.example").Key("rsa2048:it")).key, "RSA 2048");
}

TEST(CertificateFacts, WithoutAlternativeNamesThereAreNone) {
  EXPECT_THAT(FactsOfLeaf(LeafRecipe("a.example").Without("subjectAltName")).names, IsEmpty());
}

// A dNSName of 'a', ESC, 'b', and an iPAddress of three octets.
TEST(CertificateFacts, WhatAPeerWroteIsPrintable) {
  const Recipe odd =
      LeafRecipe("a.example").With("subjectAltName", "DER:30:0a:82:03:61:1b:62:87:03:01:02:03");
  EXPECT_THAT(FactsOfLeaf(odd).names, ElementsAre("a?b", "unreadable"));
}

TEST(CertificateFacts, WhatIsNoCertificateHasNone) {
  Made whole = Make(CaRecipe("root"));
  whole.der.pop_back();
  EXPECT_EQ(FactsOf(whole.der), std::nullopt);
  EXPECT_EQ(FactsOf({}), std::nullopt);
}

}  // namespace
}  // namespace sluice::tls
