// Whom a good certificate names, and what the CAs above it let it name: RFC 9525, and RFC 5280's
// name constraints (4.2.1.10), which hold along the whole path.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tls/judge_words.h"

namespace sluice::tls {
namespace {

using testing::HasSubstr;
using enum CertificateFault;

class Names : public testing::Test {
 protected:
  Verdict OfLeaf(const Recipe& recipe, const References& references,
                 const JudgeOptions& options = {}) {
    const Made leaf = Make(recipe, &root_);
    return Judge(ChainOf({&leaf}), references, Trusting({&root_}), kNow, options);
  }

  const Made root_ = Make(CaRecipe("root"));
};

TEST_F(Names, TheLevelsAskForDifferentOnes) {
  const Recipe leaf = LeafRecipe("a.example");
  const Verdict domain = OfLeaf(leaf, {.domain = "a.example"});
  EXPECT_TRUE(domain.MeetsVerify());
  EXPECT_TRUE(domain.MeetsHosted());
  EXPECT_EQ(domain.Finding(), policy::CertificateFinding::kVerifiedDomain);
  const Verdict mx = OfLeaf(leaf, {.domain = "b.example", .mx_hosts = {"a.example"}});
  EXPECT_FALSE(mx.MeetsVerify());
  EXPECT_TRUE(mx.MeetsHosted());
  EXPECT_EQ(mx.Finding(), policy::CertificateFinding::kVerifiedMxHost);
  const Verdict route = OfLeaf(leaf, {.domain = "b.example", .route_hosts = {"a.example"}});
  EXPECT_FALSE(route.MeetsVerify());
  EXPECT_TRUE(route.MeetsHosted());
  EXPECT_EQ(route.Finding(), policy::CertificateFinding::kVerifiedRouteHost);
}

TEST_F(Names, AWrongNameIsNoFaultOfThePath) {
  const Verdict verdict = OfLeaf(LeafRecipe("a.example"), {.domain = "b.example"});
  EXPECT_EQ(verdict.fault, kNone);
  EXPECT_EQ(verdict.name, NameKind::kNone);
  EXPECT_FALSE(verdict.MeetsVerify());
  EXPECT_FALSE(verdict.MeetsHosted());
  EXPECT_EQ(verdict.Finding(), policy::CertificateFinding::kName);
  EXPECT_EQ(verdict.detail, "names a.example, and none that was asked for");
}

TEST_F(Names, TheDetailTellsAFewOfManyPrintably) {
  const Verdict verdict =
      OfLeaf(LeafRecipe("").With("subjectAltName", "DNS:a,DNS:b\x1b,DNS:c,DNS:d,DNS:e,DNS:f"), {});
  EXPECT_EQ(verdict.detail, "names a, b?, c, d and 2 more, and none that was asked for");
}

TEST_F(Names, WildcardsAndAddressesReachTheVerdict) {
  EXPECT_TRUE(OfLeaf(LeafRecipe("*.example.net"), {.domain = "mx.example.net"}).MeetsVerify());
  EXPECT_FALSE(OfLeaf(LeafRecipe("*.net"), {.domain = "example.net"}).MeetsVerify());
  const Recipe address = LeafRecipe("").With("subjectAltName", "IP:192.0.2.1,IP:2001:db8::1");
  EXPECT_TRUE(OfLeaf(address, {.domain = "[192.0.2.1]"}).MeetsVerify());
  EXPECT_TRUE(OfLeaf(address, {.domain = "[IPv6:2001:db8::1]"}).MeetsVerify());
  EXPECT_FALSE(OfLeaf(address, {.domain = "[192.0.2.2]"}).MeetsVerify());
}

TEST_F(Names, MailAndUriNamesNameNobody) {
  const Recipe leaf =
      LeafRecipe("a.example")
          .With("subjectAltName", "email:x@a.example,URI:https://a.example/,RID:1.2.3.4");
  EXPECT_EQ(OfLeaf(leaf, {.domain = "a.example"}).name, NameKind::kNone);
  EXPECT_EQ(OfLeaf(leaf, {.domain = "a.example"}, {.accept_common_name = true}).name,
            NameKind::kNone);
}

TEST_F(Names, ACommonNameCountsOnlyWhereAskedAndWithoutOthers) {
  const Recipe leaf = LeafRecipe("a.example").Without("subjectAltName");
  EXPECT_EQ(OfLeaf(leaf, {.domain = "a.example"}).name, NameKind::kNone);
  EXPECT_EQ(OfLeaf(leaf, {.domain = "a.example"}, {.accept_common_name = true}).name,
            NameKind::kDomain);
  EXPECT_EQ(OfLeaf(leaf.With("subjectAltName", "DNS:b.example"), {.domain = "a.example"},
                   {.accept_common_name = true})
                .name,
            NameKind::kNone);
}

// --- Constraints.

// root -> ca (constraints) -> leaf.
class Constraints : public testing::Test {
 protected:
  CertificateFault Of(const std::string& constraints, const std::string& names) {
    const Made ca = Make(CaRecipe("ca").With("nameConstraints", "critical," + constraints), &root_);
    const Made leaf = Make(LeafRecipe("x").With("subjectAltName", names), &ca);
    return FaultNow({&leaf, &ca}, {&root_});
  }

  const Made root_ = Make(CaRecipe("root"));
};

TEST_F(Constraints, PermittedIsTheNameAndAllBelowIt) {
  const std::string permitted = "permitted;DNS:example.net";
  EXPECT_EQ(Of(permitted, "DNS:example.net"), kNone);
  EXPECT_EQ(Of(permitted, "DNS:a.b.example.net"), kNone);
  EXPECT_EQ(Of(permitted, "DNS:*.example.net"), kNone);
  EXPECT_EQ(Of(permitted, "DNS:MX.EXAMPLE.NET"), kNone);
  EXPECT_EQ(Of(permitted, "DNS:example.org"), kBadChain);
  EXPECT_EQ(Of(permitted, "DNS:badexample.net"), kBadChain);  // Not a label of its own.
  EXPECT_EQ(Of(permitted, "DNS:net"), kBadChain);
  EXPECT_EQ(Of(permitted, "DNS:mx.example.net,DNS:example.org"), kBadChain);  // One is enough.
  EXPECT_EQ(Of(permitted, "DNS:*.net"), kBadChain);
}

TEST_F(Constraints, ExcludedWinsOverPermitted) {
  const std::string excluded = "excluded;DNS:secret.example.net";
  EXPECT_EQ(Of(excluded, "DNS:mx.example.net"), kNone);
  EXPECT_EQ(Of(excluded, "DNS:secret.example.net"), kBadChain);
  EXPECT_EQ(Of(excluded, "DNS:a.secret.example.net"), kBadChain);
  EXPECT_EQ(Of(excluded, "DNS:topsecret.example.net"), kNone);
  EXPECT_EQ(Of("permitted;DNS:example.net," + excluded, "DNS:secret.example.net"), kBadChain);
  EXPECT_EQ(Of("permitted;DNS:example.net," + excluded, "DNS:mx.example.net"), kNone);
}

TEST_F(Constraints, AWildcardMustNotReachWhatIsExcluded) {
  EXPECT_EQ(Of("excluded;DNS:secret.example.net", "DNS:*.example.net"), kBadChain);
  EXPECT_EQ(Of("excluded;DNS:SECRET.Example.net", "DNS:*.example.NET"), kBadChain);
  EXPECT_EQ(Of("excluded;DNS:a.secret.example.net", "DNS:*.example.net"), kNone);  // Two labels.
  EXPECT_EQ(Of("excluded;DNS:secret.example.org", "DNS:*.example.net"), kNone);
}

TEST_F(Constraints, ANameInAnotherSpellingDoesntPassThem) {
  EXPECT_EQ(Of("excluded;DNS:secret.example.net", "DNS:secret.example.net."), kBadChain);
  EXPECT_EQ(Of("permitted;DNS:example.net", "DNS:.example.net"), kBadChain);
  EXPECT_EQ(Of("excluded;DNS:secret.example.net", "DNS:a..example.net"), kBadChain);
}

TEST_F(Constraints, OtherKindsOfNamesAreTheirOwnMatter) {
  EXPECT_EQ(Of("permitted;DNS:example.net", "IP:192.0.2.1"), kNone);
  EXPECT_EQ(Of("permitted;IP:192.0.2.0/255.255.255.0", "IP:192.0.2.1"), kNone);
  EXPECT_EQ(Of("permitted;IP:192.0.2.0/255.255.255.0", "IP:192.0.3.1"), kBadChain);
  EXPECT_EQ(Of("permitted;email:example.org", "DNS:mx.example.net"), kNone);
}

TEST_F(Constraints, OfAddressesAreWholeNetworks) {
  EXPECT_EQ(Of("permitted;IP:192.0.2.0/255.255.255.128", "IP:192.0.2.1"), kNone);
  EXPECT_EQ(Of("permitted;IP:192.0.2.1/255.255.255.255", "IP:192.0.2.1"), kNone);
  EXPECT_EQ(Of("permitted;IP:0.0.0.0/0.0.0.0", "IP:192.0.2.1"), kNone);
  EXPECT_EQ(Of("permitted;IP:192.0.2.0/251.255.255.0", "IP:192.0.2.1"), kBadChain);
  EXPECT_EQ(Of("excluded;IP:10.0.0.0/255.0.255.0", "DNS:mx.example.net"), kBadChain);
}

TEST_F(Constraints, OfWhatIsNoNameAreRefused) {
  for (const char* base : {"*.example.net", "example.net.", "exam ple.net", "example..net", ".."}) {
    EXPECT_EQ(Of(std::string("excluded;DNS:") + base, "DNS:mx.example.org"), kBadChain) << base;
  }
  EXPECT_EQ(Of("permitted;DNS:.example.net", "DNS:mx.example.net"), kNone);  // As many write it.
  EXPECT_EQ(Of("permitted;DNS:.example.net", "DNS:example.net"), kBadChain);
}

TEST_F(Constraints, HoldAlongTheWholePath) {
  const Made upper =
      Make(CaRecipe("upper").With("nameConstraints", "critical,permitted;DNS:example.net"), &root_);
  const Made lower = Make(CaRecipe("lower"), &upper);
  const Made inside = Make(LeafRecipe("mx.example.net"), &lower);
  const Made outside = Make(LeafRecipe("mx.example.org"), &lower);
  EXPECT_EQ(FaultNow({&inside, &lower, &upper}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&outside, &lower, &upper}, {&root_}), kBadChain);

  // What the lower one permits beyond the upper one is not permitted.
  const Made wider = Make(
      CaRecipe("wider").With("nameConstraints", "critical,permitted;DNS:net,permitted;DNS:org"),
      &upper);
  const Made in_both = Make(LeafRecipe("mx.example.net"), &wider);
  const Made in_one = Make(LeafRecipe("mx.example.org"), &wider);
  EXPECT_EQ(FaultNow({&in_both, &wider, &upper}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&in_one, &wider, &upper}, {&root_}), kBadChain);
}

TEST_F(Constraints, OfATrustedCertificateHoldToo) {
  const Made root = Make(CaRecipe("own root").With("nameConstraints", "permitted;DNS:example.net"));
  const Made inside = Make(LeafRecipe("mx.example.net"), &root);
  const Made outside = Make(LeafRecipe("mx.example.org"), &root);
  EXPECT_EQ(FaultNow({&inside}, {&root}), kNone);
  EXPECT_EQ(FaultNow({&outside}, {&root}), kBadChain);
}

TEST_F(Constraints, LeaveNoWayThroughACommonName) {
  const Made ca =
      Make(CaRecipe("ca").With("nameConstraints", "critical,permitted;DNS:example.net"), &root_);
  const Made plain = Make(CaRecipe("plain"), &root_);
  for (const char* name : {"mx.example.org", "mx.example.org.", "*.example.org", "mx"}) {
    const Recipe recipe = LeafRecipe(name).Without("subjectAltName");
    References references{.domain = "mx.example.org", .mx_hosts = {"mx"}};
    const Made leaf = Make(recipe, &ca);
    EXPECT_FALSE(Judge(ChainOf({&leaf, &ca}), references, Trusting({&root_}), kNow,
                       {.accept_common_name = true})
                     .MeetsHosted())
        << name;
    const Made free_leaf = Make(recipe, &plain);
    EXPECT_TRUE(Judge(ChainOf({&free_leaf, &plain}), references, Trusting({&root_}), kNow,
                      {.accept_common_name = true})
                    .MeetsHosted())
        << name;
  }
}

}  // namespace
}  // namespace sluice::tls
