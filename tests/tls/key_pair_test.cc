// Our own certificates: those of the operator, from files, and the demo one.

#include "tls/key_pair.h"

#include <cstdio>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"
#include "tests/tls/pem_words.h"
#include "tls/demo_certificate.h"

namespace sluice::tls {
namespace {

using testing::StartsWith;

absl::StatusOr<KeyPair> Read(const std::string& certificates, const std::string& key,
                             WallTime now = kNow) {
  return ReadKeyPair({"mta.pem", certificates}, {"mta.key", key}, now);
}

std::string ErrorOf(const absl::StatusOr<KeyPair>& pair) {
  return pair.ok() ? "" : std::string(pair.status().message());
}

class KeyPairTest : public testing::Test {
 protected:
  const Made root_ = Make(CaRecipe("root"));
  const Made ca_ = Make(CaRecipe("ca"), &root_);
  const Made leaf_ = Make(LeafRecipe("mta.example.net"), &ca_);
  const std::string key_ = KeyPem("p256:leaf");
};

TEST_F(KeyPairTest, ACertificateItsChainAndItsKey) {
  const auto pair = Read("text\n" + leaf_.Pem() + ca_.Pem(), key_);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->chain_pem, leaf_.Pem() + ca_.Pem());
  EXPECT_EQ(pair->key_pem, key_);
  EXPECT_EQ(pair->subject, "CN=mta.example.net");
  EXPECT_EQ(pair->not_after, WallTime(std::chrono::seconds(kNowSeconds + 60 * kDay + 1)));
}

TEST_F(KeyPairTest, OneFileForBoth) {
  EXPECT_TRUE(Read(key_ + leaf_.Pem(), key_ + leaf_.Pem()).ok());
}

TEST_F(KeyPairTest, RsaAndEdwardsKeysToo) {
  for (const char* key : {"rsa2048:own", "ed25519:own"}) {
    const Made own = Make(LeafRecipe("mta.example.net").Key(key));
    EXPECT_TRUE(Read(own.Pem(), KeyPem(key)).ok()) << key;
  }
}

TEST_F(KeyPairTest, AKeyThatIsntTheCertificatesIsRefused) {
  EXPECT_EQ(ErrorOf(Read(leaf_.Pem(), KeyPem("p256:other"))),
            "mta.key: the key isn't that of the first certificate of mta.pem");
  EXPECT_EQ(ErrorOf(Read(ca_.Pem() + leaf_.Pem(), key_)),
            "mta.key: the key isn't that of the first certificate of mta.pem");
  EXPECT_EQ(ErrorOf(Read(leaf_.Pem(), KeyPem("rsa2048:own"))),
            "mta.key: the key isn't that of the first certificate of mta.pem");
}

TEST_F(KeyPairTest, DatesCountToTheSecond) {
  const EpochSeconds end = kNowSeconds + 60 * kDay;
  const EpochSeconds begin = kNowSeconds - 30 * kDay;
  const auto at = [&](EpochSeconds time) {
    return ErrorOf(Read(leaf_.Pem(), key_, WallTime(std::chrono::seconds(time))));
  };
  EXPECT_EQ(at(end), "");
  EXPECT_EQ(at(end + 1), "mta.pem: the certificate expired on 2026-08-30 12:00:00 UTC");
  EXPECT_EQ(at(begin), "");
  EXPECT_EQ(at(begin - 1), "mta.pem: the certificate isn't valid before 2026-06-01 12:00:00 UTC");
}

TEST_F(KeyPairTest, WhatCantBeReadIsRefusedByItsFile) {
  EXPECT_EQ(ErrorOf(Read("", key_)), "mta.pem: holds no certificate");
  EXPECT_EQ(ErrorOf(Read(leaf_.Pem(), "")), "mta.key: holds no private key");
  EXPECT_EQ(ErrorOf(Read(leaf_.Pem(), leaf_.Pem())), "mta.key: holds no private key");
  EXPECT_THAT(ErrorOf(Read(leaf_.Pem(), key_.substr(0, key_.size() / 2))),
              StartsWith("mta.key: the key can't be read"));
}

TEST_F(KeyPairTest, AKeyUnderAPassPhraseIsRefusedWithoutAsking) {
  // openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret
  const std::string locked =
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
      "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj5J6Iqt3vBPgICCAAw\n"
      "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEFWEpSNzhwBmQTOdmVoukZkEQOXC\n"
      "GjISW41oRqpZx57It9yNFvP1sujAvBbmmmN1xXrJgchyU3mrnZuBfiQz9XRV5qhB\n"
      "FM5ijItW691uRtfF+iU=\n"
      "-----END ENCRYPTED PRIVATE KEY-----\n";
  EXPECT_EQ(ErrorOf(Read(leaf_.Pem(), locked)), "mta.key: the key is under a pass phrase");
}

TEST_F(KeyPairTest, LoadsFiles) {
  const std::string certificate_file = testing::TempDir() + "key_pair_test.pem";
  const std::string key_file = testing::TempDir() + "key_pair_test.key";
  std::ofstream(certificate_file) << leaf_.Pem();
  std::ofstream(key_file) << key_;
  EXPECT_TRUE(LoadKeyPair(certificate_file, key_file, kNow).ok());
  std::remove(key_file.c_str());
  EXPECT_EQ(ErrorOf(LoadKeyPair(certificate_file, key_file, kNow)),
            key_file + ": can't be opened: No such file or directory");
  std::remove(certificate_file.c_str());
}

// --- The demo certificate.

TEST(DemoCertificate, IsAKeyPairForTheHostForTenYears) {
  const auto demo = MakeDemoCertificate("MTA.example.net", kNow);
  ASSERT_TRUE(demo.ok()) << demo.status();
  const auto in_years = [&](int years) {
    const WallTime then = kNow + std::chrono::hours(24) * 365 * years;
    return Read(demo->certificate_pem, demo->key_pem, then).ok();
  };
  EXPECT_TRUE(in_years(0));
  EXPECT_TRUE(in_years(10));
  EXPECT_FALSE(in_years(11));
  EXPECT_TRUE(Read(demo->certificate_pem, demo->key_pem, kNow - std::chrono::hours(24)).ok());
  EXPECT_FALSE(Read(demo->certificate_pem, demo->key_pem, kNow - std::chrono::hours(25)).ok());
}

TEST(DemoCertificate, NamesTheHostButNobodyTrustsIt) {
  const auto demo = MakeDemoCertificate("mta.example.net", kNow);
  ASSERT_TRUE(demo.ok());
  const auto trust = TrustStore::Parse(demo->certificate_pem, "demo.pem", 1);
  ASSERT_TRUE(trust.ok());
  const Made root = Make(CaRecipe("root"));
  const Chain chain = CertificatesOf(demo->certificate_pem);
  EXPECT_EQ(Judge(chain, {.domain = "mta.example.net"}, Trusting({&root}), kNow).fault,
            CertificateFault::kUntrusted);
  // To whom trusts just this one it is as good as any.
  EXPECT_TRUE(Judge(chain, {.domain = "mta.example.net"}, *trust, kNow).MeetsVerify());
}

TEST(DemoCertificate, IsNeverTheSameTwice) {
  const auto a = MakeDemoCertificate("a.example", kNow);
  const auto b = MakeDemoCertificate("a.example", kNow);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->key_pem, b->key_pem);
  EXPECT_NE(a->certificate_pem, b->certificate_pem);
}

TEST(DemoCertificate, TakesLongNamesAndRefusesWhatIsNone) {
  const std::string label(63, 'a');
  EXPECT_TRUE(MakeDemoCertificate(label + "." + label + ".example", kNow).ok());
  EXPECT_TRUE(MakeDemoCertificate("localhost", kNow).ok());
  for (const char* name : {"", "a b", "a..b", "[192.0.2.1]", "a,DNS:b"}) {
    EXPECT_FALSE(MakeDemoCertificate(name, kNow).ok()) << name;
  }
}

}  // namespace
}  // namespace sluice::tls
