// Every fault of a certificate, made to order, and beside each the same chain without it. The
// answers are RFC 5280's (section in the comments) and the bounds of certificate_limits.h.

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/tls_decision.h"
#include "tests/tls/judge_words.h"
#include "tls/certificate_limits.h"

namespace sluice::tls {
namespace {

using testing::HasSubstr;
using enum CertificateFault;

// root -> ca -> leaf, all as they should be.
class Faults : public testing::Test {
 protected:
  // The fault of a leaf of this recipe, under a good CA.
  CertificateFault OfLeaf(const Recipe& recipe) {
    const Made leaf = Make(recipe, &ca_);
    return FaultNow({&leaf, &ca_}, {&root_});
  }
  // Of a good leaf under a CA of this recipe.
  CertificateFault OfCa(const Recipe& recipe) {
    const Made ca = Make(recipe, &root_);
    const Made leaf = Make(LeafRecipe(kHost), &ca);
    return FaultNow({&leaf, &ca}, {&root_});
  }
  // Of a good leaf right under a trusted root of this recipe.
  CertificateFault OfRoot(const Recipe& recipe) {
    const Made root = Make(recipe);
    const Made leaf = Make(LeafRecipe(kHost), &root);
    return FaultNow({&leaf}, {&root});
  }

  const Made root_ = Make(CaRecipe("root"));
  const Made ca_ = Make(CaRecipe("ca"), &root_);
  const Made leaf_ = Make(LeafRecipe(kHost), &ca_);
};

TEST_F(Faults, NoneOfAGoodChain) {
  const Verdict verdict = JudgeNow({&leaf_, &ca_}, {&root_});
  EXPECT_EQ(verdict.fault, kNone) << verdict.detail;
  EXPECT_EQ(verdict.name, NameKind::kDomain);
  EXPECT_TRUE(verdict.MeetsVerify());
  EXPECT_TRUE(verdict.MeetsHosted());
  EXPECT_EQ(verdict.subject, "CN=mx.example.net");
}

// --- Trust.

TEST_F(Faults, AnUnknownCaIsUntrusted) {
  const Made stranger = Make(CaRecipe("stranger"));
  const Made leaf = Make(LeafRecipe(kHost), &stranger);
  const Verdict verdict = JudgeNow({&leaf, &stranger}, {&root_});
  EXPECT_EQ(verdict.fault, kUntrusted);
  EXPECT_EQ(verdict.name, NameKind::kNone);
  EXPECT_FALSE(verdict.MeetsHosted());
  EXPECT_EQ(verdict.detail,
            "CN=mx.example.net: no path to a trusted certificate; its issuer is CN=stranger");
  EXPECT_EQ(FaultNow({&leaf, &stranger}, {&stranger}), kNone);
}

TEST_F(Faults, ACaOfTheSameNameWithAnotherKeyIsNotTrusted) {
  const Made impostor = Make(CaRecipe("root").Key("p256:impostor"));
  const Made leaf = Make(LeafRecipe(kHost), &impostor);
  EXPECT_EQ(FaultNow({&leaf, &impostor}, {&root_}), kUntrusted);
  // Without the identifiers that tell the keys apart, it is the signature that is wrong.
  const Made bare_leaf = Make(LeafRecipe(kHost).Without("authorityKeyIdentifier"), &impostor);
  EXPECT_EQ(FaultNow({&bare_leaf}, {&root_}), kBadChain);
}

TEST_F(Faults, ASelfSignedCertificateIsUntrustedUnlessItIsTrustedItself) {
  const Made alone = Make(LeafRecipe(kHost));
  EXPECT_EQ(FaultNow({&alone}, {&root_}), kUntrusted);
  EXPECT_TRUE(JudgeNow({&alone}, {&root_, &alone}).MeetsVerify());
  const Made twin = Make(LeafRecipe(kHost));  // The same key and names, other bytes.
  EXPECT_EQ(FaultNow({&twin}, {&root_, &alone}), kBadChain);
}

TEST_F(Faults, WhatIsTrustedNeedNotBeSelfSigned) {
  EXPECT_EQ(FaultNow({&leaf_}, {&ca_}), kNone);
  EXPECT_EQ(FaultNow({&leaf_}, {&leaf_}), kNone);
  const Made other = Make(LeafRecipe(kHost), &ca_);
  EXPECT_EQ(FaultNow({&other}, {&leaf_}), kUntrusted);
}

// --- Dates (4.1.2.5: both ends belong to the time).

TEST_F(Faults, DatesOfTheLeafCountToTheSecond) {
  const Made leaf = Make(LeafRecipe(kHost).Dates(kNowSeconds, kNowSeconds + 10), &ca_);
  const auto fault_at = [&](EpochSeconds time, int nanoseconds) {
    return JudgeAt(At(time) + std::chrono::nanoseconds(nanoseconds), {&leaf, &ca_}, {&root_}).fault;
  };
  EXPECT_EQ(fault_at(kNowSeconds, -1), kNotYetValid);
  EXPECT_EQ(fault_at(kNowSeconds, 0), kNone);
  EXPECT_EQ(fault_at(kNowSeconds + 10, 999'999'999), kNone);
  EXPECT_EQ(fault_at(kNowSeconds + 11, 0), kExpired);
}

TEST_F(Faults, DatesOfACaAndOfARootCountToo) {
  const EpochSeconds past = kNowSeconds - kDay;
  const EpochSeconds future = kNowSeconds + kDay;
  EXPECT_EQ(OfCa(CaRecipe("dated").Dates(past, future)), kNone);
  EXPECT_EQ(OfCa(CaRecipe("dated").Dates(past - kDay, past)), kExpired);
  EXPECT_EQ(OfCa(CaRecipe("dated").Dates(future, future + kDay)), kNotYetValid);
  EXPECT_EQ(OfRoot(CaRecipe("dated root").Dates(past, future)), kNone);
  EXPECT_EQ(OfRoot(CaRecipe("dated root").Dates(past - kDay, past)), kExpired);
  EXPECT_EQ(OfRoot(CaRecipe("dated root").Dates(future, future + kDay)), kNotYetValid);
}

TEST_F(Faults, TheDetailNamesTheCertificateAndTheDate) {
  const Made ca =
      Make(CaRecipe("old ca").Dates(kNowSeconds - 2 * kDay, kNowSeconds - kDay), &root_);
  const Made leaf = Make(LeafRecipe(kHost), &ca);
  EXPECT_EQ(JudgeNow({&leaf, &ca}, {&root_}).detail,
            "CN=old ca: expired on 2026-06-30 12:00:00 UTC");
}

TEST_F(Faults, DatesInAnotherFormCantBeRead) {
  Made leaf = Make(LeafRecipe(kHost), &ca_);
  const std::string der(reinterpret_cast<const char*>(leaf.der.data()), leaf.der.size());
  const size_t not_before = der.find("260601120000Z");
  ASSERT_NE(not_before, der.npos);
  leaf.der[not_before + 12] = std::byte{'0'};
  EXPECT_EQ(FaultNow({&leaf, &ca_}, {&root_}), kMalformed);
}

// 4.1.2.5: with seconds, and in UTC.
TEST_F(Faults, DatesInAFormOfBerCantBeRead) {
  Recipe leaf = LeafRecipe(kHost);
  leaf.not_after_octets = "260830120000Z";
  EXPECT_EQ(OfLeaf(leaf), kNone);
  for (const char* octets : {"2608301200Z", "260830120000+0000", "260830120000", "2608301200+0000",
                             "260830120000.5Z", "261330120000Z", ""}) {
    leaf.not_after_octets = std::string(octets) + std::string(*octets == 0 ? 1 : 0, ' ');
    EXPECT_EQ(OfLeaf(leaf), kMalformed) << octets;
  }
}

// --- Strength.

TEST_F(Faults, KeysBelow2048BitsAreWeakAnywhereInThePath) {
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("rsa1024:leaf")), kWeakKey);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("rsa2047:leaf")), kWeakKey);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("rsa2048:leaf")), kNone);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("rsa2052:leaf")), kWeakKey);  // Not of whole octets.
  EXPECT_EQ(OfCa(CaRecipe("rsa ca").Key("rsa1024:leaf")), kWeakKey);
  EXPECT_EQ(OfCa(CaRecipe("rsa ca").Key("rsa2048:leaf")), kNone);
  EXPECT_EQ(OfRoot(CaRecipe("rsa root").Key("rsa1024:leaf")), kWeakKey);
  EXPECT_EQ(OfRoot(CaRecipe("rsa root").Key("rsa2048:leaf")), kNone);
}

TEST_F(Faults, CurvesAreThoseOfTlsByName) {
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("p192:leaf")), kWeakKey);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("p256 with explicit parameters:leaf")), kWeakKey);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Key("ed25519:leaf")), kNone);
  EXPECT_EQ(OfCa(CaRecipe("edwards ca").Key("ed25519:leaf")), kNone);
}

Recipe WithDigest(Recipe recipe, const char* digest) {
  recipe.digest = digest;
  return recipe;
}

TEST_F(Faults, SignaturesWithSha1AreWeakButForTheTrustedOnesOwn) {
  EXPECT_EQ(OfLeaf(WithDigest(LeafRecipe(kHost), "SHA1")), kWeakKey);
  EXPECT_EQ(OfLeaf(WithDigest(LeafRecipe(kHost), "SHA384")), kNone);
  EXPECT_EQ(OfCa(WithDigest(CaRecipe("hashed"), "SHA1")), kWeakKey);
  EXPECT_EQ(OfCa(WithDigest(CaRecipe("hashed"), "SHA384")), kNone);
  EXPECT_EQ(OfRoot(WithDigest(CaRecipe("hashed"), "SHA1")), kNone);
}

TEST_F(Faults, SoAreThoseWithMd5) {
  const Made root = Make(WithDigest(CaRecipe("rsa root").Key("rsa2048:root"), "MD5"));
  const Made weak = Make(WithDigest(LeafRecipe(kHost), "MD5"), &root);
  const Made good = Make(LeafRecipe(kHost), &root);
  EXPECT_EQ(FaultNow({&weak}, {&root}), kWeakKey);
  EXPECT_EQ(FaultNow({&good}, {&root}), kNone);
}

// --- Who may issue (4.2.1.3, 4.2.1.9).

TEST_F(Faults, WhatIssuesIsACa) {
  const std::string kConstraints = "basicConstraints";
  EXPECT_EQ(OfCa(CaRecipe("no ca").With(kConstraints, "critical,CA:FALSE").Without("keyUsage")),
            kBadChain);
  EXPECT_EQ(OfCa(CaRecipe("no ca").Without(kConstraints)), kBadChain);
  EXPECT_EQ(OfCa(CaRecipe("a ca").With(kConstraints, "CA:TRUE")), kNone);  // Not critical.
  EXPECT_EQ(OfRoot(CaRecipe("no root").Without(kConstraints)), kBadChain);
  EXPECT_EQ(OfRoot(CaRecipe("no root").With(kConstraints, "critical,CA:FALSE")), kBadChain);
}

TEST_F(Faults, ALeafSignsNothing) {
  const Made leaf = Make(LeafRecipe("evil.example").Key("p256:evil"), &ca_);
  const Made forged = Make(LeafRecipe(kHost), &leaf);
  EXPECT_EQ(FaultNow({&forged, &leaf, &ca_}, {&root_}), kBadChain);
}

TEST_F(Faults, WhatIssuesMaySignCertificates) {
  const Made ca = Make(CaRecipe("signs lists").With("keyUsage", "critical,cRLSign"), &root_);
  const Made leaf = Make(LeafRecipe(kHost), &ca);
  EXPECT_EQ(JudgeNow({&leaf, &ca}, {&root_}).detail,
            "CN=signs lists: may not sign certificates (keyUsage)");
  EXPECT_EQ(OfCa(CaRecipe("signs all").With("keyUsage", "keyCertSign")), kNone);
  EXPECT_EQ(OfCa(CaRecipe("unlimited").Without("keyUsage")), kNone);
  EXPECT_EQ(OfRoot(CaRecipe("root of lists").With("keyUsage", "critical,cRLSign")), kBadChain);
}

TEST_F(Faults, PathLengthsAreKept) {
  const auto with_length = [&](const std::string& length) {
    const Made upper =
        Make(CaRecipe("upper").With("basicConstraints", "critical,CA:TRUE" + length), &root_);
    const Made lower = Make(CaRecipe("lower"), &upper);
    const Made leaf = Make(LeafRecipe(kHost), &lower);
    return FaultNow({&leaf, &lower, &upper}, {&root_});
  };
  EXPECT_EQ(with_length(",pathlen:0"), kBadChain);
  EXPECT_EQ(with_length(",pathlen:1"), kNone);
  EXPECT_EQ(with_length(""), kNone);
}

TEST_F(Faults, SelfIssuedCertificatesDontCountInAPathLength) {
  const Made upper =
      Make(CaRecipe("upper").With("basicConstraints", "critical,CA:TRUE,pathlen:0"), &root_);
  const Made renewed = Make(CaRecipe("upper").Key("p256:renewed"), &upper);
  const Made leaf = Make(LeafRecipe(kHost), &renewed);
  EXPECT_EQ(FaultNow({&leaf, &renewed, &upper}, {&root_}), kNone);
}

TEST_F(Faults, ACaHasAName) {
  EXPECT_EQ(OfCa(CaRecipe("")), kBadChain);
  EXPECT_EQ(OfRoot(CaRecipe("")), kBadChain);
  Recipe nameless = LeafRecipe(kHost);
  nameless.name.clear();
  EXPECT_EQ(OfLeaf(nameless), kNone);
}

// --- What for (4.2.1.12).

TEST_F(Faults, TheLeafIsForServers) {
  const auto usage = [&](const char* value) {
    return OfLeaf(LeafRecipe(kHost).With("extendedKeyUsage", value));
  };
  EXPECT_EQ(usage("clientAuth"), kBadChain);
  EXPECT_EQ(usage("emailProtection,codeSigning"), kBadChain);
  EXPECT_EQ(usage("1.3.6.1.4.1.311.10.3.3"), kBadChain);  // Server-gated, of the last century.
  EXPECT_EQ(usage("clientAuth,serverAuth"), kNone);
  EXPECT_EQ(usage("critical,serverAuth"), kNone);
  EXPECT_EQ(usage("anyExtendedKeyUsage"), kNone);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Without("extendedKeyUsage")), kNone);
}

TEST_F(Faults, SoIsEveryCaThatSaysWhatItIsFor) {
  EXPECT_EQ(OfCa(CaRecipe("for clients").With("extendedKeyUsage", "clientAuth")), kBadChain);
  EXPECT_EQ(OfCa(CaRecipe("for servers").With("extendedKeyUsage", "serverAuth")), kNone);
  EXPECT_EQ(OfRoot(CaRecipe("for clients").With("extendedKeyUsage", "clientAuth")), kBadChain);
  EXPECT_EQ(OfRoot(CaRecipe("for servers").With("extendedKeyUsage", "serverAuth")), kNone);
}

// --- Form (4.1, 4.2).

TEST_F(Faults, ACriticalExtensionThatNobodyKnowsIsRefused) {
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("1.2.3.4", "critical,DER:0500")), kBadChain);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("1.2.3.4", "DER:0500")), kNone);
  EXPECT_EQ(OfCa(CaRecipe("odd").With("1.2.3.4", "critical,DER:0500")), kBadChain);
  EXPECT_EQ(OfCa(CaRecipe("odd").With("1.2.3.4", "DER:0500")), kNone);
  EXPECT_EQ(OfRoot(CaRecipe("odd").With("1.2.3.4", "critical,DER:0500")), kBadChain);
}

TEST_F(Faults, MicrosoftsApplicationPoliciesStandBesideTheUsageTheyRepeat) {
  const std::string kPolicies = "1.3.6.1.4.1.311.21.10";
  const std::string kServers = "critical,DER:300c300a06082b06010505070301";
  const Recipe with_usage = LeafRecipe(kHost).With(kPolicies, kServers);
  EXPECT_EQ(OfLeaf(with_usage), kNone);
  EXPECT_EQ(OfLeaf(with_usage.Without("extendedKeyUsage")), kBadChain);
}

TEST_F(Faults, PoliciesThatACaRequiresAreHeard) {
  const std::string kPolicies = "2.5.29.32";
  const std::string kPolicy = "DER:3007300506032a0304";  // 1.2.3.4
  const Recipe strict = CaRecipe("policies")
                            .With(kPolicies, kPolicy)
                            .With("policyConstraints", "critical,requireExplicitPolicy:0");
  const Made ca = Make(strict, &root_);
  const Made without = Make(LeafRecipe(kHost), &ca);
  EXPECT_EQ(FaultNow({&without, &ca}, {&root_}), kBadChain);
  const Made with = Make(LeafRecipe(kHost).With(kPolicies, kPolicy), &ca);
  EXPECT_EQ(FaultNow({&with, &ca}, {&root_}), kNone);
}

TEST_F(Faults, PolicyConstraintsNeedPolicies) {
  const Recipe constrained =
      CaRecipe("policies").With("policyConstraints", "critical,inhibitPolicyMapping:0");
  EXPECT_EQ(OfCa(constrained), kBadChain);
  EXPECT_EQ(OfCa(constrained.With("2.5.29.32", "DER:3007300506032a0304")), kNone);
  EXPECT_EQ(OfRoot(constrained), kNone);  // A trusted one's policies are not heard.
}

// 4.2.1.4. libcrypto 3.0 loses memory over them, which the address sanitizer reports.
TEST_F(Faults, PoliciesAreSomeAndStandOnce) {
  const std::string kPolicies = "2.5.29.32";
  const Recipe constrained =
      CaRecipe("policies").With("policyConstraints", "critical,requireExplicitPolicy:3");
  EXPECT_EQ(OfCa(constrained.With(kPolicies, "DER:3007300506032a0304")), kNone);
  EXPECT_EQ(OfCa(constrained.With(kPolicies, "DER:3000")), kMalformed);
  EXPECT_EQ(OfCa(constrained.With(kPolicies, "DER:300e300506032a0305300506032a0304")), kNone);
  EXPECT_EQ(OfCa(constrained.With(kPolicies, "DER:300e300506032a0304300506032a0304")), kMalformed);
  std::string arcs;  // 16383.16383 and so on: 84 characters, and the last arc tells.
  for (int i = 0; i < 14; ++i) arcs += "ff7f";
  const std::string long_ones = "DER:30463021061f2a03" + arcs + "013021061f2a03" + arcs + "02";
  EXPECT_EQ(OfCa(constrained.With(kPolicies, long_ones)), kNone);
}

// 4.2.1.4: qualifiers other than the two that RFC 5280 has, here 1.2.3.4.
TEST_F(Faults, CriticalPoliciesHaveKnownQualifiers) {
  const std::string kQualified = "DER:3013301106022a03300b300906032a03040c026869";
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("2.5.29.32", kQualified)), kNone);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("2.5.29.32", "critical," + kQualified)), kBadChain);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("2.5.29.32", "critical,DER:3007300506032a0304")), kNone);
}

// 4.1.2.2.
TEST_F(Faults, ASerialNumberHasTwentyOctetsAtMost) {
  Recipe leaf = LeafRecipe(kHost);
  leaf.serial = "7f" + std::string(38, 'f');
  EXPECT_EQ(OfLeaf(leaf), kNone);
  leaf.serial = "7f" + std::string(40, 'f');
  EXPECT_EQ(OfLeaf(leaf), kMalformed);
  for (const char* odd : {"0", "-5"}) {  // Against the letter, and in use.
    leaf.serial = odd;
    EXPECT_EQ(OfLeaf(leaf), kNone) << odd;
  }
}

TEST_F(Faults, Version1IsRefused) {
  Recipe old = LeafRecipe(kHost);
  old.extensions.clear();
  old.version = 1;
  EXPECT_EQ(OfLeaf(old), kBadChain);
  Recipe old_root = CaRecipe("version 1");
  old_root.extensions.clear();
  old_root.version = 1;
  EXPECT_EQ(OfRoot(old_root), kBadChain);
}

TEST_F(Faults, ASignatureThatDoesntHoldIsABadChain) {
  const Made leaf = WithBadSignature(leaf_);
  EXPECT_EQ(FaultNow({&leaf, &ca_}, {&root_}), kBadChain);
  const Made ca = WithBadSignature(ca_);
  EXPECT_EQ(FaultNow({&leaf_, &ca}, {&root_}), kBadChain);
  EXPECT_THAT(JudgeNow({&leaf_, &ca}, {&root_}).detail, HasSubstr("signature failure"));
}

TEST_F(Faults, ExtensionsThatStandTwiceOrCantBeReadAreMalformed) {
  Recipe twice = LeafRecipe(kHost);
  twice.extensions.emplace_back("subjectAltName", "DNS:other.example");
  EXPECT_EQ(OfLeaf(twice), kMalformed);
  const Recipe once = LeafRecipe(kHost).With("1.2.3.4", "DER:0500");
  Recipe unknown_twice = once;
  unknown_twice.extensions.emplace_back("1.2.3.4", "DER:0500");
  EXPECT_EQ(OfLeaf(once), kNone);
  EXPECT_EQ(OfLeaf(unknown_twice), kMalformed);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Without("subjectAltName").With("2.5.29.17", "DER:0500")),
            kMalformed);
  EXPECT_EQ(OfCa(CaRecipe("odd").Without("keyUsage").With("2.5.29.15", "DER:0500")), kMalformed);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Without("keyUsage").With("2.5.29.15", "DER:030300ff80")),
            kNone);
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).Without("keyUsage").With("2.5.29.15", "DER:030400ff8001")),
            kMalformed);
  // One value, and then another that would be passed over.
  const Recipe bare = CaRecipe("odd").Without("basicConstraints");
  EXPECT_EQ(OfCa(bare.With("2.5.29.19", "critical,DER:30030101ff")), kNone);
  EXPECT_EQ(OfCa(bare.With("2.5.29.19", "critical,DER:30030101ff3000")), kMalformed);
}

// RFC 5280 4.1: certificates are DER. Each is BER that libcrypto reads, beside the same in DER.
TEST_F(Faults, ExtensionsThatAreNotDerAreMalformed) {
  const std::string kDomain = "6578616d706c652e6e6574";  // example.net
  const auto ca = [&](const std::string& der) {
    return OfCa(CaRecipe("constrained").With("2.5.29.30", "critical,DER:" + der));
  };
  EXPECT_EQ(ca("3011a00f300d820b" + kDomain), kNone);
  EXPECT_EQ(ca("3011800f300d820b" + kDomain), kMalformed);  // A sequence that is said to be none.

  const Recipe unnamed = LeafRecipe(kHost).Without("subjectAltName");
  EXPECT_EQ(OfLeaf(unnamed.With("2.5.29.17", "DER:3010820e6d782e" + kDomain)), kNone);
  EXPECT_EQ(OfLeaf(unnamed.With("2.5.29.17", "DER:3014a21216036d782e160b" + kDomain)), kMalformed);

  const Recipe bare = LeafRecipe(kHost).Without("basicConstraints");
  EXPECT_EQ(OfLeaf(bare.With("2.5.29.19", "critical,DER:3000")), kNone);
  EXPECT_EQ(OfLeaf(bare.With("2.5.29.19", "critical,DER:3003010100")), kNone);  // In wide use.
}

TEST_F(Faults, NameConstraintsStandInACaAndConstrainSomething) {
  const std::string kConstraints = "permitted;DNS:example.net";
  EXPECT_EQ(OfLeaf(LeafRecipe(kHost).With("nameConstraints", kConstraints)), kBadChain);
  EXPECT_EQ(OfCa(CaRecipe("constrained").With("nameConstraints", kConstraints)), kNone);
  EXPECT_EQ(OfCa(CaRecipe("constrained").With("2.5.29.30", "critical,DER:3000")), kBadChain);
}

TEST_F(Faults, ChainsThatCantBeReadAreMalformed) {
  const TrustStore trust = Trusting({&root_});
  const auto fault = [&](const Chain& chain) {
    const Verdict verdict = Judge(chain, {.domain = kHost}, trust, kNow);
    EXPECT_FALSE(verdict.detail.empty());
    return verdict.fault;
  };
  const Chain good = ChainOf({&leaf_, &ca_});
  EXPECT_EQ(fault(good), kNone);
  EXPECT_EQ(fault({}), kMalformed);
  EXPECT_EQ(fault({{}}), kMalformed);
  EXPECT_EQ(fault({std::vector<std::byte>(100, std::byte{0x30})}), kMalformed);
  Chain cut = good;
  cut[0].pop_back();
  EXPECT_EQ(fault(cut), kMalformed);
  Chain longer = good;
  longer[0].push_back(std::byte{0});
  EXPECT_EQ(fault(longer), kMalformed);
  Chain with_garbage = good;
  with_garbage.push_back({std::byte{1}});
  EXPECT_EQ(fault(with_garbage), kMalformed);
}

// X.690 10.1: the length in as few octets as it takes. BER would take it as the same certificate.
TEST_F(Faults, WhatIsntInDerIsMalformed) {
  const TrustStore trust = Trusting({&root_});
  Chain chain = ChainOf({&leaf_, &ca_});
  std::vector<std::byte>& der = chain[1];
  ASSERT_EQ(der[1], std::byte{0x82});  // Two octets of length follow.
  der[1] = std::byte{0x83};
  der.insert(der.begin() + 2, std::byte{0});
  EXPECT_EQ(Judge(chain, {.domain = kHost}, trust, kNow).fault, kMalformed);
}

// X.690 8.12: a SET says that it is constructed.
TEST_F(Faults, ANameIsWhollyInDer) {
  Chain chain = ChainOf({&leaf_, &ca_});
  const std::vector<std::byte> set = {std::byte{0x31}, std::byte{0x17}, std::byte{0x30}};
  const auto at = std::search(chain[0].begin(), chain[0].end(), set.begin(), set.end());
  ASSERT_NE(at, chain[0].end());
  *at = std::byte{0x11};
  EXPECT_EQ(Judge(chain, {.domain = kHost}, Trusting({&root_}), kNow).fault, kMalformed);
}

TEST_F(Faults, ChainsBeyondABoundAreMalformed) {
  std::vector<const Made*> sent = {&leaf_};
  sent.resize(limits::kChainCertificatesMax, &ca_);
  EXPECT_EQ(FaultNow(sent, {&root_}), kNone);
  sent.push_back(&ca_);
  EXPECT_EQ(FaultNow(sent, {&root_}), kMalformed);
  sent.resize(200, &ca_);
  EXPECT_EQ(FaultNow(sent, {&root_}), kMalformed);

  // Exactly the bound in bytes, by an extension of the right size, and one more.
  const auto with_bytes = [&](size_t bytes) {
    return Make(LeafRecipe(kHost).With("1.2.3.4", "DER:" + std::string(2 * bytes, '0')), &ca_);
  };
  const size_t overhead = with_bytes(80'000).der.size() - 80'000 + ca_.der.size();
  for (int over = -8; over <= 8; ++over) {  // An ECDSA signature's size varies by a few octets.
    const Made leaf = with_bytes(limits::kChainBytesMax - overhead + over);
    const bool fits = leaf.der.size() + ca_.der.size() <= limits::kChainBytesMax;
    EXPECT_EQ(FaultNow({&leaf, &ca_}, {&root_}), fits ? kNone : kMalformed);
  }
}

// --- The verdict's other fields.

TEST_F(Faults, AGoodVerdictHoldsUntilTheFirstCertificateOfItsPathEnds) {
  const Made ca = Make(CaRecipe("short").Dates(0, kNowSeconds + 100), &root_);
  const Made leaf = Make(LeafRecipe(kHost).Dates(0, kNowSeconds + 200), &ca);
  EXPECT_EQ(JudgeNow({&leaf, &ca}, {&root_}).valid_until, At(kNowSeconds + 101));
  EXPECT_EQ(JudgeNow({&leaf}, {&ca}).valid_until, At(kNowSeconds + 101));
  EXPECT_EQ(JudgeNow({&leaf}, {&leaf}).valid_until, At(kNowSeconds + 201));
}

TEST_F(Faults, ABadVerdictHoldsUntilADateCouldChangeIt) {
  const Made early = Make(LeafRecipe(kHost).Dates(kNowSeconds + 5, kNowSeconds + 50), &ca_);
  EXPECT_EQ(JudgeNow({&early, &ca_}, {&root_}).valid_until, At(kNowSeconds + 5));
  const Made late = Make(LeafRecipe(kHost).Dates(0, kNowSeconds - 1), &ca_);
  EXPECT_EQ(JudgeNow({&late}, {&root_}).valid_until, WallTime::max());
}

TEST_F(Faults, DatesBeyondTheClockAreNoTrouble) {
  const EpochSeconds year_9999 = 253402300799;
  const EpochSeconds year_1950 = -631152000;
  const Made root = Make(CaRecipe("eternal").Dates(year_1950, year_9999));
  const Made leaf = Make(LeafRecipe(kHost).Dates(year_1950, year_9999), &root);
  const Verdict verdict = JudgeNow({&leaf}, {&root});
  EXPECT_EQ(verdict.fault, kNone);
  EXPECT_EQ(verdict.valid_until, WallTime::max());
}

TEST_F(Faults, TheSubjectIsPrintableAndBounded) {
  Recipe recipe = LeafRecipe(kHost);
  recipe.name = "a,b\n\x1b[31m\xc3\xbc";
  const Made odd = Make(recipe, &ca_);
  EXPECT_EQ(JudgeNow({&odd, &ca_}, {&root_}).subject, "CN=a\\,b\\0A\\1B[31m\\C3\\BC");
}

TEST_F(Faults, ThePolicyHearsTheSameWords) {
  const struct {
    CertificateFault fault;
    policy::TlsReason reason;
  } kRows[] = {
      {kNone, policy::TlsReason::kNone},        {kUntrusted, policy::TlsReason::kUntrusted},
      {kExpired, policy::TlsReason::kExpired},  {kNotYetValid, policy::TlsReason::kNotYetValid},
      {kWeakKey, policy::TlsReason::kWeakKey},  {kMalformed, policy::TlsReason::kMalformed},
      {kBadChain, policy::TlsReason::kBadChain}};
  for (const auto& row : kRows) {
    EXPECT_EQ(CertificateFaultWord(row.fault), policy::TlsReasonWord(row.reason));
    if (row.fault == kNone) continue;
    const policy::TlsDecision decision =
        policy::DecideTls(policy::TlsLevel::kRequireVerify, policy::TlsFinding::kEstablished,
                          Verdict{.fault = row.fault, .name = NameKind::kDomain}.Finding());
    EXPECT_EQ(decision.reason, row.reason);
  }
  EXPECT_EQ(kNameFaultWord, policy::TlsReasonWord(policy::TlsReason::kName));
}

}  // namespace
}  // namespace sluice::tls
