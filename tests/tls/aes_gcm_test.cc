// The test cases 4 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", which NIST
// SP 800-38D stands on: keys of 128 and 256 bits, additional data, a text of no whole blocks.

#include "tls/aes_gcm.h"

#include <array>
#include <vector>

#include "gtest/gtest.h"
#include "tests/tls/hex_words.h"

namespace sluice::tls {
namespace {

using Octets = std::vector<uint8_t>;

struct Case {
  const char* key;
  const char* sealed;
  const char* tag;
};
constexpr Case kCases[] = {
    {"feffe9928665731c6d6a8f9467308308",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

class AesGcmTest : public testing::TestWithParam<Case> {
 protected:
  GcmInput Input(const Octets& text) const {
    return {.key = key_,
            .nonce = std::span<const uint8_t, kGcmNonceBytes>(nonce_),
            .additional = additional_,
            .text = text};
  }
  bool Opens(const Octets& text, const Octets& tag) const {
    Octets output(text.size());
    return OpenAesGcm(Input(text), output.data(), std::span<const uint8_t, kGcmTagBytes>(tag));
  }

  Octets key_ = FromHex(GetParam().key);
  Octets nonce_ = FromHex("cafebabefacedbaddecaf888");
  Octets additional_ = FromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const Octets text_ = FromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
  const Octets sealed_ = FromHex(GetParam().sealed);
  const Octets tag_ = FromHex(GetParam().tag);
};

INSTANTIATE_TEST_SUITE_P(KeySizes, AesGcmTest, testing::ValuesIn(kCases));

TEST_P(AesGcmTest, SealsAsPublished) {
  Octets output(text_.size());
  std::array<uint8_t, kGcmTagBytes> tag;
  ASSERT_TRUE(SealAesGcm(Input(text_), output.data(), tag));
  EXPECT_EQ(output, sealed_);
  EXPECT_EQ(Octets(tag.begin(), tag.end()), tag_);
}

TEST_P(AesGcmTest, OpensWhereItStands) {
  Octets text = sealed_;
  ASSERT_TRUE(OpenAesGcm(Input(text), text.data(), std::span<const uint8_t, kGcmTagBytes>(tag_)));
  EXPECT_EQ(text, text_);
}

TEST_P(AesGcmTest, OneBitOfAnythingIsRefused) {
  EXPECT_TRUE(Opens(sealed_, tag_));
  Octets sealed = sealed_;
  sealed.back() ^= 1;
  EXPECT_FALSE(Opens(sealed, tag_));
  Octets tag = tag_;
  tag.back() ^= 0x80;
  EXPECT_FALSE(Opens(sealed_, tag));
  for (Octets* octets : {&key_, &nonce_, &additional_}) {
    octets->front() ^= 1;
    EXPECT_FALSE(Opens(sealed_, tag_));
    octets->front() ^= 1;
  }
  EXPECT_TRUE(Opens(sealed_, tag_));  // What was refused leaves nothing behind.
}

// Of an empty text only the additional data are told.
TEST_P(AesGcmTest, AnEmptyTextHasATag) {
  std::array<uint8_t, kGcmTagBytes> tag;
  uint8_t nothing = 0;
  ASSERT_TRUE(SealAesGcm(Input({}), &nothing, tag));
  EXPECT_TRUE(Opens({}, Octets(tag.begin(), tag.end())));
  additional_.back() ^= 1;
  EXPECT_FALSE(Opens({}, Octets(tag.begin(), tag.end())));
}

}  // namespace
}  // namespace sluice::tls
