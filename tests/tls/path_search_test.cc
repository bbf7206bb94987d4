// Finding the good path among what a peer sends: any order, certificates that don't belong, several
// certificates for one CA, and graphs that are meant to keep us busy.

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tls/judge_words.h"
#include "tls/certificate_limits.h"

namespace sluice::tls {
namespace {

using testing::HasSubstr;
using enum CertificateFault;

constexpr EpochSeconds kPast = kNowSeconds - kDay;

class PathSearch : public testing::Test {
 protected:
  const Made root_ = Make(CaRecipe("root"));
  const Made upper_ = Make(CaRecipe("upper"), &root_);
  const Made lower_ = Make(CaRecipe("lower"), &upper_);
  const Made leaf_ = Make(LeafRecipe(kHost), &lower_);
};

TEST_F(PathSearch, TakesTheRestInAnyOrder) {
  EXPECT_EQ(FaultNow({&leaf_, &lower_, &upper_}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &upper_, &lower_}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &root_, &upper_, &lower_}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &leaf_, &upper_, &upper_, &lower_, &leaf_}, {&root_}), kNone);
}

TEST_F(PathSearch, ButThePeersOwnComesFirst) {
  const Verdict verdict = JudgeNow({&lower_, &leaf_, &upper_}, {&root_});
  EXPECT_EQ(verdict.subject, "CN=lower");
  EXPECT_FALSE(verdict.MeetsHosted());
}

TEST_F(PathSearch, AMissingCaLeavesNoPath) {
  EXPECT_EQ(FaultNow({&leaf_, &upper_}, {&root_}), kUntrusted);
  EXPECT_EQ(FaultNow({&leaf_}, {&root_}), kUntrusted);
  EXPECT_EQ(FaultNow({&leaf_, &lower_}, {&root_}), kUntrusted);
}

TEST_F(PathSearch, PassesOverWhatDoesntBelong) {
  std::vector<Made> junk;
  while (junk.size() + 3 < limits::kChainCertificatesMax) {
    junk.push_back(Make(CaRecipe("junk").Key("p256:junk")));
  }
  std::vector<const Made*> sent = {&leaf_};
  for (const Made& one : junk) sent.push_back(&one);
  sent.push_back(&lower_);
  sent.push_back(&upper_);
  EXPECT_EQ(FaultNow(sent, {&root_}), kNone);
}

// --- Several certificates for one CA.

TEST_F(PathSearch, FindsTheCrossSignatureThatLeadsToATrustedRoot) {
  const Made stranger = Make(CaRecipe("stranger"));
  const Made crossed = Make(CaRecipe("upper"), &stranger);  // The same name and key.
  EXPECT_EQ(FaultNow({&leaf_, &lower_, &crossed, &upper_}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &lower_, &upper_, &crossed}, {&root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &lower_, &upper_, &crossed}, {&stranger}), kNone);
  EXPECT_EQ(FaultNow({&leaf_, &lower_, &crossed, &stranger}, {&root_}), kUntrusted);
}

TEST_F(PathSearch, GoesRoundAnExpiredRootByItsCrossSignature) {
  const Made old_root = Make(CaRecipe("old root").Dates(0, kPast));
  const Made crossed = Make(CaRecipe("old root"), &root_);
  const Made ca = Make(CaRecipe("ca"), &old_root);
  const Made leaf = Make(LeafRecipe(kHost), &ca);
  EXPECT_EQ(FaultNow({&leaf, &ca}, {&old_root, &root_}), kExpired);
  EXPECT_EQ(FaultNow({&leaf, &ca, &crossed}, {&old_root, &root_}), kNone);
  EXPECT_EQ(FaultNow({&leaf, &ca, &crossed}, {&root_, &old_root}), kNone);
}

TEST_F(PathSearch, GoesRoundAnExpiredCrossSignatureByTheRoot) {
  const Made new_root = Make(CaRecipe("new root"));
  const Made crossed = Make(CaRecipe("new root").Dates(0, kPast), &root_);
  const Made leaf = Make(LeafRecipe(kHost), &new_root);
  EXPECT_EQ(FaultNow({&leaf, &crossed}, {&root_}), kExpired);
  EXPECT_EQ(FaultNow({&leaf, &crossed}, {&root_, &new_root}), kNone);
}

TEST_F(PathSearch, GoesRoundACertificateThatIsBadInItself) {
  const Recipe good = CaRecipe("ca");
  const Made ca = Make(good, &root_);
  const Made leaf = Make(LeafRecipe(kHost), &ca);
  Recipe weak = good;
  weak.digest = "SHA1";
  for (const Recipe& recipe :
       {good.Dates(0, kPast), good.With("basicConstraints", "critical,CA:FALSE"),
        good.With("keyUsage", "critical,cRLSign"), good.With("extendedKeyUsage", "clientAuth"),
        good.With("1.2.3.4", "critical,DER:0500"), weak,
        good.With("nameConstraints", "critical,excluded;DNS:example.net")}) {
    const Made bad = Make(recipe, &root_);
    EXPECT_NE(FaultNow({&leaf, &bad}, {&root_}), kNone);
    EXPECT_EQ(FaultNow({&leaf, &bad, &ca}, {&root_}), kNone);
    EXPECT_EQ(FaultNow({&leaf, &ca, &bad}, {&root_}), kNone);
  }
}

TEST_F(PathSearch, TellsCasOfOneNameApartByTheirSignatures) {
  const Recipe bare = CaRecipe("ca").Without("subjectKeyIdentifier");
  const Made ca = Make(bare, &root_);
  const Made leaf = Make(LeafRecipe(kHost).Without("authorityKeyIdentifier"), &ca);
  std::vector<Made> twins;
  for (int i = 0; i < 45; ++i) {
    twins.push_back(Make(bare.Key("p256:twin" + std::to_string(i)), &root_));
  }
  std::vector<const Made*> sent = {&leaf};
  for (const Made& twin : twins) sent.push_back(&twin);
  EXPECT_NE(FaultNow(sent, {&root_}), kNone);
  sent.push_back(&ca);
  EXPECT_EQ(FaultNow(sent, {&root_}), kNone);
}

TEST_F(PathSearch, AnswersWithTheFaultOfAPathNotWithMissingTrust) {
  const Made ca = Make(CaRecipe("ca").Dates(0, kPast), &root_);
  const Made leaf = Make(LeafRecipe(kHost), &ca);
  const Made stranger = Make(CaRecipe("stranger"));
  const Made crossed = Make(CaRecipe("ca"), &stranger);
  EXPECT_EQ(FaultNow({&leaf, &crossed, &stranger, &ca}, {&root_}), kExpired);
}

TEST_F(PathSearch, AnswersWithTheFaultOfTheFirstPath) {
  const Made excludes = Make(CaRecipe("twin").With("nameConstraints", "excluded;DNS:example.net"));
  const Made permits = Make(CaRecipe("twin").With("nameConstraints", "permitted;DNS:example.org"));
  const Made leaf = Make(LeafRecipe(kHost), &excludes);
  EXPECT_THAT(JudgeNow({&leaf}, {&excludes, &permits}).detail, HasSubstr("excluded"));
  EXPECT_THAT(JudgeNow({&leaf}, {&permits, &excludes}).detail, HasSubstr("permitted"));
}

// --- Bounds.

// Each CA forbids the leaf, which shows only when its whole path is judged: three signatures, and
// one to tell it from the others.
TEST_F(PathSearch, AGoodPathBehindTooManyBadOnesIsNotFound) {
  const Made good = Make(CaRecipe("ca"), &root_);
  const Made leaf = Make(LeafRecipe(kHost), &good);
  const auto fault_behind = [&](size_t bad) {
    std::vector<Made> forbidding;
    while (forbidding.size() < bad) {
      forbidding.push_back(
          Make(CaRecipe("ca").With("nameConstraints", "excluded;DNS:example.net"), &root_));
    }
    std::vector<const Made*> sent = {&leaf};
    for (const Made& ca : forbidding) sent.push_back(&ca);
    sent.push_back(&good);
    return FaultNow(sent, {&root_});
  };
  // (bad + 1) * (1 + 3) signatures in all.
  constexpr size_t kMost = limits::kSignatureChecksMax / 4 - 1;
  EXPECT_EQ(fault_behind(kMost), kNone);
  EXPECT_EQ(fault_behind(kMost + 1), kBadChain);
}

TEST_F(PathSearch, APathIsNoLongerThanItsBound) {
  std::vector<std::unique_ptr<Made>> cas;
  const auto fault_with = [&](size_t intermediates) {
    cas.clear();
    const Made* issuer = &root_;
    for (size_t i = 0; i < intermediates; ++i) {
      cas.push_back(std::make_unique<Made>(Make(CaRecipe("ca" + std::to_string(i)), issuer)));
      issuer = cas.back().get();
    }
    const Made leaf = Make(LeafRecipe(kHost), issuer);
    std::vector<const Made*> sent = {&leaf};
    for (const auto& ca : cas) sent.push_back(ca.get());
    return FaultNow(sent, {&root_});
  };
  EXPECT_EQ(fault_with(limits::kPathCertificatesMax - 2), kNone);
  EXPECT_EQ(fault_with(limits::kPathCertificatesMax - 1), kUntrusted);
}

TEST_F(PathSearch, ACircleEnds) {
  const Made a = Make(CaRecipe("a"));
  const Made b = Make(CaRecipe("b"), &a);
  const Made a_by_b = Make(CaRecipe("a"), &b);
  const Made leaf = Make(LeafRecipe(kHost), &b);
  EXPECT_EQ(FaultNow({&leaf, &b, &a_by_b}, {&root_}), kUntrusted);
  EXPECT_EQ(FaultNow({&leaf, &b, &a_by_b}, {&root_, &a}), kNone);
}

// Seven CAs that have each signed each other: 49 certificates, thousands of ways, none to a root.
TEST_F(PathSearch, AGraphOfMutualSignaturesEnds) {
  constexpr int kCas = 7;
  std::vector<Made> selves;
  for (int i = 0; i < kCas; ++i) selves.push_back(Make(CaRecipe("ca" + std::to_string(i))));
  std::vector<Made> crossed;
  for (int i = 0; i < kCas; ++i) {
    for (const Made& issuer : selves) {
      crossed.push_back(Make(CaRecipe("ca" + std::to_string(i)), &issuer));
    }
  }
  const Made leaf = Make(LeafRecipe(kHost), &selves[0]);
  std::vector<const Made*> sent = {&leaf};
  for (const Made& one : crossed) sent.push_back(&one);
  ASSERT_EQ(sent.size(), limits::kChainCertificatesMax);
  EXPECT_EQ(FaultNow(sent, {&root_}), kUntrusted);
  EXPECT_EQ(FaultNow(sent, {&root_, &selves[kCas - 1]}), kNone);
}

// The same, with a root whose name fits and whose constraints forbid the leaf: each way is a whole
// path, to be judged with all its signatures.
TEST_F(PathSearch, AGraphOfForbiddenPathsEnds) {
  constexpr int kCas = 6;
  const Made root = Make(CaRecipe("forbids").With("nameConstraints", "excluded;DNS:example.net"));
  std::vector<Made> selves;
  for (int i = 0; i < kCas; ++i) selves.push_back(Make(CaRecipe("ca" + std::to_string(i))));
  std::vector<Made> crossed;
  for (int i = 0; i < kCas; ++i) {
    const Recipe ca = CaRecipe("ca" + std::to_string(i));
    for (const Made& issuer : selves) crossed.push_back(Make(ca, &issuer));
    crossed.push_back(Make(ca, &root));
  }
  const Made leaf = Make(LeafRecipe(kHost), &selves[0]);
  std::vector<const Made*> sent = {&leaf};
  for (const Made& one : crossed) sent.push_back(&one);
  EXPECT_EQ(FaultNow(sent, {&root}), kBadChain);
}

}  // namespace
}  // namespace sluice::tls
