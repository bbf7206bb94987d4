// Files of trusted certificates: what is taken, what is refused, and that errors name the file.

#include "tls/trust_store.h"

#include <atomic>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"

namespace sluice::tls {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string ErrorOf(const absl::StatusOr<TrustStore>& store) {
  return store.ok() ? "" : std::string(store.status().message());
}

class TrustStoreTest : public testing::Test {
 protected:
  const std::string a_ = Make(CaRecipe("a")).Pem();
  const std::string b_ = Make(CaRecipe("b")).Pem();
};

TEST_F(TrustStoreTest, CountsDifferentCertificates) {
  const auto store = TrustStore::Parse("# comment\n" + a_ + "text\r\n" + b_ + a_, "ca.pem", 7);
  ASSERT_TRUE(store.ok());
  EXPECT_EQ(store->size(), 2U);
  EXPECT_EQ(store->version(), 7U);
}

TEST_F(TrustStoreTest, KeysBetweenThemArePassedOver) {
  const auto store = TrustStore::Parse(KeyPem("p256:a") + a_, "ca.pem", 1);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->size(), 1U);
}

TEST_F(TrustStoreTest, WithoutACertificateIsRefused) {
  EXPECT_EQ(ErrorOf(TrustStore::Parse("", "ca.pem", 1)), "ca.pem: holds no certificate");
  EXPECT_EQ(ErrorOf(TrustStore::Parse("nothing", "ca.pem", 1)), "ca.pem: holds no certificate");
}

TEST_F(TrustStoreTest, ACertificateThatCantBeReadIsRefusedByItsPlace) {
  std::string broken = b_;
  broken[broken.find('\n') + 5] = '!';
  EXPECT_THAT(ErrorOf(TrustStore::Parse(a_ + broken, "ca.pem", 1)),
              StartsWith("ca.pem: certificate 2 can't be read"));
  EXPECT_THAT(ErrorOf(TrustStore::Parse(a_ + b_.substr(0, b_.size() / 2), "ca.pem", 1)),
              StartsWith("ca.pem: certificate 2 can't be read"));
  const std::string no_certificate =
      "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
  EXPECT_THAT(ErrorOf(TrustStore::Parse(no_certificate + a_, "ca.pem", 1)),
              StartsWith("ca.pem: certificate 1 can't be read"));
}

TEST_F(TrustStoreTest, ThreadsShareIt) {
  const Made root = Make(CaRecipe("root"));
  const Made leaf = Make(LeafRecipe("mx.example.net"), &root);
  const TrustStore store = Trusting({&root});
  const Chain chain = ChainOf({&leaf});
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        good += Judge(chain, {.domain = "mx.example.net"}, store, kNow).MeetsVerify() ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 200);
}

TEST_F(TrustStoreTest, LoadsAFile) {
  const std::string file = testing::TempDir() + "trust_store_test.pem";
  std::ofstream(file) << a_ << b_;
  const auto store = TrustStore::Load(file, 3);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->size(), 2U);
  std::remove(file.c_str());
  EXPECT_EQ(ErrorOf(TrustStore::Load(file, 3)),
            file + ": can't be opened: No such file or directory");
  EXPECT_THAT(ErrorOf(TrustStore::Load(testing::TempDir(), 3)), HasSubstr("can't be read"));
}

}  // namespace
}  // namespace sluice::tls
