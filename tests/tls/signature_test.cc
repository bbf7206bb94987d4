#include "tls/signature.h"

#include <openssl/rsa.h>

#include <array>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "engine/base/check.h"
#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"
#include "tests/tls/hex_words.h"
#include "tls/pem_file.h"

namespace sluice::tls {
namespace {

// RFC 6979 A.2.5, with SHA-256 over "sample"; r and s as DER has them, with an octet of 0 before
// those whose first bit is set.
const std::vector<uint8_t> kPoint = FromHex(
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
const std::vector<uint8_t> kDigest =
    FromHex("af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf");
const std::vector<uint8_t> kSignature = FromHex(
    "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");

TEST(VerifiesEcdsa, WhatIsPublished) {
  EXPECT_TRUE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, kSignature));
}

TEST(VerifiesEcdsa, NothingElse) {
  const auto changed = [](std::vector<uint8_t> octets, size_t at) {
    octets[at] ^= 1;
    return octets;
  };
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, changed(kDigest, 0), kSignature));
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, {}, kSignature));
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, {}));
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, {}, kDigest, kSignature));
  for (size_t at = 0; at < kSignature.size(); ++at) {
    EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, changed(kSignature, at))) << at;
  }
  for (const size_t at : {0u, 1u, 64u}) {  // Not a point of the curve.
    EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, changed(kPoint, at), kDigest, kSignature)) << at;
  }
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP384, kPoint, kDigest, kSignature));
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, FromHex("00"), kDigest, kSignature));  // Infinity.
  std::vector<uint8_t> longer = kSignature;
  longer.push_back(0);
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, longer));
  // SEC 1, 4.1.4: r and s are from 1 on. All of 0 would verify for any key, if it were not looked
  // at (CVE-2022-21449, of another library).
  EXPECT_FALSE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, FromHex("3006020100020100")));
}

TEST(SigningKey, IsReadByItsKind) {
  EXPECT_EQ(SigningKey::Read(KeyPem("p256:sign"))->kind(), SigningKey::Kind::kEcdsa);
  EXPECT_EQ(SigningKey::Read(KeyPem("rsa2048:sign"))->kind(), SigningKey::Kind::kRsa);
  EXPECT_EQ(SigningKey::Read(KeyPem("ed25519:sign")), nullptr);  // wolfSSL signs.
  EXPECT_EQ(SigningKey::Read(""), nullptr);
  EXPECT_EQ(SigningKey::Read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            nullptr);
}

TEST(SigningKey, WritesNothingBeyondTheRoomItHas) {
  std::array<uint8_t, 600> signature;
  signature.fill(7);
  const std::unique_ptr<const SigningKey> rsa = SigningKey::Read(KeyPem("rsa2048:sign"));
  const std::span<uint8_t> room(signature);
  EXPECT_EQ(rsa->SignRsaPss(kDigest, room.first(255)), 0u);
  EXPECT_EQ(rsa->SignRsaPkcs1(kDigest, room.first(255)), 0u);
  EXPECT_EQ(signature[0], 7);
  EXPECT_EQ(rsa->SignRsaPss(kDigest, room.first(256)), 256u);  // As long as its modulus, RFC 8017.
  EXPECT_EQ(signature[256], 7);
  EXPECT_EQ(rsa->SignRsaPss(Octets(kDigest).first(20), room), 0u);  // SHA-1's: TLS 1.3 has it not.
}

// What libcrypto itself says of a signature of kDigest by "rsa2048:sign".
bool VerifiesRsa(Octets signature, int padding) {
  const UniqueKey key = *ReadPemKey(KeyPem("rsa2048:sign"), "key");
  const UniqueKeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr));
  CHECK(EVP_PKEY_verify_init(context.get()) == 1);
  CHECK(EVP_PKEY_CTX_set_rsa_padding(context.get(), padding) == 1);
  CHECK(EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1);
  const bool salted = padding == RSA_PKCS1_PSS_PADDING;
  if (salted) CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), 32) == 1);
  return EVP_PKEY_verify(context.get(), signature.data(), signature.size(), kDigest.data(),
                         kDigest.size()) == 1;
}

// RFC 8446 4.2.3: the salt is as long as the digest.
TEST(SigningKey, SignsByRsaPss) {
  std::array<uint8_t, 256> signature;
  const std::unique_ptr<const SigningKey> key = SigningKey::Read(KeyPem("rsa2048:sign"));
  ASSERT_EQ(key->SignRsaPss(kDigest, signature), 256u);
  EXPECT_TRUE(VerifiesRsa(signature, RSA_PKCS1_PSS_PADDING));
  EXPECT_FALSE(VerifiesRsa(signature, RSA_PKCS1_PADDING));
}

// RFC 8017 9.2, note 1: what stands before a digest by SHA-256.
TEST(SigningKey, SignsByRsaPkcs1) {
  std::array<uint8_t, 256> signature;
  std::vector<uint8_t> encoded = FromHex("3031300d060960864801650304020105000420");
  encoded.insert(encoded.end(), kDigest.begin(), kDigest.end());
  const std::unique_ptr<const SigningKey> key = SigningKey::Read(KeyPem("rsa2048:sign"));
  ASSERT_EQ(key->SignRsaPkcs1(encoded, signature), 256u);
  EXPECT_TRUE(VerifiesRsa(signature, RSA_PKCS1_PADDING));
}

TEST(SigningKey, SignsAsItsPointVerifies) {
  // RFC 6979 A.2.5: the private key of that point, as SEC 1 has it.
  const std::unique_ptr<const SigningKey> key = SigningKey::Read(
      "-----BEGIN EC PRIVATE KEY-----\n" +
      absl::Base64Escape(absl::HexStringToBytes(
          "30310201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
          "a00a06082a8648ce3d030107")) +
      "\n-----END EC PRIVATE KEY-----\n");
  ASSERT_NE(key, nullptr);
  std::array<uint8_t, 80> signature;
  const size_t bytes = key->SignEcdsa(kDigest, signature);
  ASSERT_GT(bytes, 0u);
  EXPECT_TRUE(VerifiesEcdsa(Curve::kP256, kPoint, kDigest, Octets(signature).first(bytes)));
}

}  // namespace
}  // namespace sluice::tls
