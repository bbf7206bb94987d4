// Sessions whose ciphers and signatures libcrypto does, by every suite and kind of key; and what a
// peer may not do to them.

#include "tls/crypto_device.h"

#include <fcntl.h>

#include <ostream>
#include <string>
#include <tuple>
#include <utility>

#include "gtest/gtest.h"
#include "tests/tls/stream_words.h"
#include "tests/tls/without_opening.h"
#include "tests/tls/wolf_words.h"

namespace sluice::tls {
namespace {

constexpr size_t kRecordHeaderBytes = 5;

struct Case {
  const char* name;
  const char* key;
  const char* suite;  // wolfSSL's name.
};

// As in RFC 8446 B.4 and RFC 5289: under TLS 1.2 a suite names the kind of key.
constexpr Case kTls13[] = {
    {"Tls13Aes128P256", "p256:device", "TLS13-AES128-GCM-SHA256"},
    {"Tls13Aes256P384", "p384:device", "TLS13-AES256-GCM-SHA384"},
    {"Tls13ChaChaP521", "p521:device", "TLS13-CHACHA20-POLY1305-SHA256"},
    {"Tls13Aes128Rsa", "rsa2048:device", "TLS13-AES128-GCM-SHA256"},
    {"Tls13Aes256RsaOfAnOddSize", "rsa2052:device", "TLS13-AES256-GCM-SHA384"},
    {"Tls13Aes128Ed25519", "ed25519:device", "TLS13-AES128-GCM-SHA256"},
};
constexpr Case kTls12[] = {
    {"Tls12Aes128P256", "p256:device", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"Tls12Aes256P384", "p384:device", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"Tls12Aes128P521", "p521:device", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"Tls12Aes128Rsa", "rsa2048:device", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"Tls12Aes256Rsa", "rsa2048:device", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"Tls12ChaChaRsa", "rsa2048:device", "ECDHE-RSA-CHACHA20-POLY1305"},
};

void PrintTo(const Case& of, std::ostream* stream) {
  *stream << of.name;
}

class CryptoDeviceTest : public testing::TestWithParam<Case> {
 protected:
  CryptoDeviceTest()
      : server_context_(ServerContextOf(Make(LeafRecipe("mx.example.net").Key(GetParam().key)))) {
    UseOnly(*server_context_, GetParam().suite);
    pair_.client = Stream::Client(client_context_, "mx.example.net", nullptr);
    pair_.server = Stream::Server(server_context_);
  }

  bool Established() const {
    return pair_.client_step == Step::kEstablished && pair_.server_step == Step::kEstablished;
  }

  const std::shared_ptr<const Context> client_context_ = ClientContext();
  const std::shared_ptr<const Context> server_context_;
  Pair pair_;
};

const auto kName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Tls13, CryptoDeviceTest, testing::ValuesIn(kTls13), kName);
INSTANTIATE_TEST_SUITE_P(Tls12, CryptoDeviceTest, testing::ValuesIn(kTls12), kName);

TEST_P(CryptoDeviceTest, CarriesBytesBothWays) {
  pair_.Shake();
  ASSERT_TRUE(Established()) << pair_.client->fault_detail();
  EXPECT_EQ(pair_.client->facts().cipher, std::string(OfferedSuite(GetParam().suite)));
  for (const size_t bytes : {1u, 15u, 16u, 17u, 16384u, 16385u, 100'000u}) {
    const std::string sent(bytes, static_cast<char>('a' + bytes % 26));
    for (auto [from, to] : {std::pair(pair_.client.get(), pair_.server.get()),
                            std::pair(pair_.server.get(), pair_.client.get())}) {
      std::string opened;
      ASSERT_TRUE(from->Seal(sent));
      const std::string sealed = Taken(*from);
      EXPECT_EQ(sealed.find(sent.substr(0, 15) + sent.substr(0, 1)), std::string::npos);
      to->Feed(sealed);
      EXPECT_EQ(to->Open(opened), Stream::Opened::kNeedsInput);
      EXPECT_EQ(opened, sent);
    }
  }
}

// By itself wolfSSL would open /dev/urandom for each session, and a host be blamed for ours that
// have run out.
TEST_P(CryptoDeviceTest, TakesNoDescriptor) {
  WithoutOpening([&] {
    EXPECT_LT(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    pair_.client = Stream::Client(client_context_, "mx.example.net", nullptr);
    pair_.server = Stream::Server(server_context_);
    if (pair_.client != nullptr && pair_.server != nullptr) pair_.Shake();
  });
  EXPECT_TRUE(Established());
}

// RFC 8446 5.2, RFC 5246 6.2.3.3: one bit anywhere in it, and the record is not one.
TEST_P(CryptoDeviceTest, AChangedRecordIsNotRead) {
  for (const size_t from_end : {1u, 16u, 17u, 40u, 76u}) {  // The tag has the last 16 octets.
    Pair pair;
    pair.client = Stream::Client(ClientContext(), "mx.example.net", nullptr);
    pair.server = Stream::Server(server_context_);
    pair.Shake();
    ASSERT_TRUE(pair.server->Seal(std::string(60, 'x')));
    std::string record = Taken(*pair.server);
    ASSERT_GE(record.size(), 76 + kRecordHeaderBytes);
    record[record.size() - from_end] ^= 0x10;
    pair.client->Feed(record);
    std::string opened;
    EXPECT_EQ(pair.client->Open(opened), Stream::Opened::kFailed);
    EXPECT_EQ(opened, "");
  }
}

// The last octets of ServerKeyExchange (RFC 5246 7.4.3), the only handshake message under TLS 1.2
// that proves that the server has its key.
size_t EndOfKeyExchange(const std::string& flight) {
  for (size_t at = 0; at + 9 <= flight.size();) {
    const auto octet = [&](size_t i) { return static_cast<uint8_t>(flight[at + i]); };
    const size_t record_bytes = size_t{octet(3)} << 8 | octet(4);
    if (octet(0) == 22 && octet(5) == 12) return at + 5 + record_bytes;
    at += 5 + record_bytes;
  }
  return 0;
}

class KeyExchangeTest : public CryptoDeviceTest {};
INSTANTIATE_TEST_SUITE_P(Tls12, KeyExchangeTest, testing::ValuesIn(kTls12), kName);

TEST_P(KeyExchangeTest, AChangedSignatureIsRefused) {
  pair_.client->Handshake();
  pair_.server->Feed(Taken(*pair_.client));
  pair_.server->Handshake();
  std::string flight = Taken(*pair_.server);
  const size_t end = EndOfKeyExchange(flight);
  ASSERT_GT(end, 0u);
  flight[end - 1] ^= 1;
  pair_.client->Feed(flight);
  EXPECT_EQ(pair_.client->Handshake(), Step::kFailed);
  EXPECT_EQ(pair_.client->fault(), StreamFault::kHandshake);
}

// A server whose certificate has the key `device`, and which signs by `key`; as its client sees it.
Pair AfterSigningBy(const std::string& key, const char* suite) {
  const std::unique_ptr<const SigningKey> signing = SigningKey::Read(KeyPem(key));
  const std::shared_ptr<const Context> context =
      ServerContextOf(Make(LeafRecipe("mx.example.net").Key("p256:device")));
  UseOnly(*context, suite);
  SignInsteadBy(*signing, *context);
  Pair pair;
  pair.client = Stream::Client(ClientContext(), "mx.example.net", nullptr);
  pair.server = Stream::Server(context);
  pair.Shake();
  return pair;
}

class ImpostorTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Suites, ImpostorTest,
                         testing::Values("TLS13-AES128-GCM-SHA256",
                                         "TLS13-CHACHA20-POLY1305-SHA256",
                                         "ECDHE-ECDSA-AES128-GCM-SHA256"));

// Whoever shows another's certificate has not its key. RFC 8446 4.4.3, RFC 5246 7.4.3.
TEST_P(ImpostorTest, IsRefused) {
  const Pair pair = AfterSigningBy("p256:other", GetParam());
  EXPECT_EQ(pair.client_step, Step::kFailed);
  EXPECT_EQ(pair.client->fault(), StreamFault::kHandshake);
}

TEST_P(ImpostorTest, IsNoneWhoHasTheKey) {
  EXPECT_EQ(AfterSigningBy("p256:device", GetParam()).client_step, Step::kEstablished);
}

// A client that is asked for its certificate proves that it has the key: RFC 8446 4.3.2, RFC 5246
// 7.4.8. Under TLS 1.2 wolfSSL says that there is room for far more than there is.
class ClientKeyTest : public testing::TestWithParam<std::tuple<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(
    Keys, ClientKeyTest,
    testing::Combine(testing::Values("p256:client", "p521:client", "rsa2048:client",
                                     "rsa4096:client", "ed25519:client"),
                     testing::Values("TLS13-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")));

TEST_P(ClientKeyTest, IsProved) {
  const auto [key, suite] = GetParam();
  const Made own = Make(LeafRecipe("sluice.example.org").Key(key));
  absl::StatusOr<std::shared_ptr<const Context>> client =
      Context::ForClients({.certificate = own.Pem(), .key = KeyPem(own.key)});
  ASSERT_TRUE(client.ok()) << client.status();
  const std::shared_ptr<const Context> server =
      ServerContextOf(Make(LeafRecipe("mx.example.net").Key("p256:device")));
  UseOnly(*server, suite);
  AskForCertificate(*server);
  Pair pair;
  pair.client = Stream::Client(*client, "mx.example.net", nullptr);
  pair.server = Stream::Server(server);
  pair.Shake();
  EXPECT_EQ(pair.client_step, Step::kEstablished) << pair.client->fault_detail();
  EXPECT_EQ(pair.server_step, Step::kEstablished) << pair.server->fault_detail();
}

// wolfSSL takes it, and could not sign by it (error -234); libcrypto would, beyond the room.
TEST(Context, RefusesRsaThatIsTooLong) {
  const Made own = Make(LeafRecipe("mx.example.net").Key("rsa4104:own"));
  const Context::Options options{.certificate = own.Pem(), .key = KeyPem(own.key)};
  EXPECT_EQ(Context::ForServers(options).status().message(),
            "a key of RSA may have at most 4096 bits");
  EXPECT_FALSE(Context::ForClients(options).ok());
}

}  // namespace
}  // namespace sluice::tls
