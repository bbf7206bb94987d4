// TLS without sockets: handshakes, bytes within, ends, and what a peer may not do.

#include "tls/stream.h"

#include "tests/tls/stream_words.h"
#include "tls/session_cache.h"

namespace sluice::tls {
namespace {

constexpr absl::string_view kHost = "mx.example.net";

class StreamTest : public testing::Test {
 protected:
  StreamTest() : leaf_(Make(LeafRecipe(std::string(kHost)))) {}

  Pair Begin(Version least_client = Version::kTls12, Version least_server = Version::kTls12) {
    Pair pair;
    pair.client = Stream::Client(ClientContext(least_client), kHost, nullptr);
    pair.server = Stream::Server(ServerContextOf(leaf_, least_server));
    return pair;
  }

  const Made leaf_;
};

TEST_F(StreamTest, EstablishesAndCarriesBytesBothWays) {
  Pair pair = Begin();
  pair.Shake();
  ASSERT_EQ(pair.client_step, Step::kEstablished);
  ASSERT_EQ(pair.server_step, Step::kEstablished);
  EXPECT_EQ(pair.client->facts().protocol, "TLSv1.3");
  EXPECT_FALSE(pair.client->facts().resumed);
  ASSERT_EQ(pair.client->facts().chain.size(), 1u);
  EXPECT_EQ(pair.client->facts().chain[0], leaf_.der);

  std::string opened;
  ASSERT_TRUE(pair.client->Seal("EHLO a\r\n"));
  pair.server->Feed(Taken(*pair.client));
  EXPECT_EQ(pair.server->Open(opened), Stream::Opened::kNeedsInput);
  EXPECT_EQ(opened, "EHLO a\r\n");
  opened.clear();
  const std::string large(100'000, 'x');  // Several records.
  ASSERT_TRUE(pair.server->Seal(large));
  pair.client->Feed(Taken(*pair.server));
  EXPECT_EQ(pair.client->Open(opened), Stream::Opened::kNeedsInput);
  EXPECT_EQ(opened, large);
}

TEST_F(StreamTest, TakesInputByteByByte) {
  Pair pair = Begin();
  pair.Shake(1);
  EXPECT_EQ(pair.client_step, Step::kEstablished);
  EXPECT_EQ(pair.server_step, Step::kEstablished);
}

// RFC 5246 7.2.1, RFC 8446 6.1.
TEST_F(StreamTest, EndIsSaidAndSeen) {
  Pair pair = Begin();
  pair.Shake();
  pair.server->Close();
  pair.client->Feed(Taken(*pair.server));
  std::string opened;
  EXPECT_EQ(pair.client->Open(opened), Stream::Opened::kClosed);
  EXPECT_EQ(opened, "");
}

TEST_F(StreamTest, ChangedRecordEndsTheSession) {
  Pair pair = Begin();
  pair.Shake();
  ASSERT_TRUE(pair.server->Seal("250 ok\r\n"));
  std::string record = Taken(*pair.server);
  record.back() ^= 1;
  pair.client->Feed(record);
  std::string opened;
  EXPECT_EQ(pair.client->Open(opened), Stream::Opened::kFailed);
  EXPECT_EQ(opened, "");
  EXPECT_FALSE(pair.client->Seal("MAIL"));
}

TEST_F(StreamTest, GarbageInsteadOfAHandshakeFails) {
  Pair pair = Begin();
  pair.client->Handshake();
  pair.client->Feed("500 what?\r\n");
  EXPECT_EQ(pair.client->Handshake(), Step::kFailed);
  EXPECT_EQ(pair.client->fault(), StreamFault::kHandshake);
  EXPECT_NE(pair.client->fault_detail(), "");
}

// A TLS 1.2 alert of an old server: handshake versions have nothing in common (RFC 8446 6.2).
TEST_F(StreamTest, AlertOfTheVersionIsSaidSo) {
  Pair pair = Begin();
  pair.client->Handshake();
  const char alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 70};
  pair.client->Feed(absl::string_view(alert, sizeof(alert)));
  EXPECT_EQ(pair.client->Handshake(), Step::kFailed);
  EXPECT_EQ(pair.client->fault(), StreamFault::kProtocol);
}

TEST_F(StreamTest, AlertOfSecurityIsOfTheCipher) {
  Pair pair = Begin();
  pair.client->Handshake();
  const char alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 71};
  pair.client->Feed(absl::string_view(alert, sizeof(alert)));
  EXPECT_EQ(pair.client->Handshake(), Step::kFailed);
  EXPECT_EQ(pair.client->fault(), StreamFault::kCipher);
}

// Beside the bound it is not even looked at what it is (F28).
TEST_F(StreamTest, HandshakeHasABoundOfBytes) {
  Pair pair = Begin();
  pair.client->Handshake();
  // Handshake records that never end: a certificate of 16 MB, announced.
  std::string record = {0x16, 0x03, 0x03, 0x40, 0x00};
  record += std::string("\x02\xff\xff\xff", 4) + std::string((16 << 10) - 4, 'x');
  Step step = Step::kNeedsInput;
  int records = 0;
  while (step == Step::kNeedsInput && records < 100) {
    pair.client->Feed(record);
    step = pair.client->Handshake();
    ++records;
  }
  EXPECT_EQ(step, Step::kFailed);
  EXPECT_LT(records, 20);
}

TEST_F(StreamTest, ServersGiveNoTicketUnlessTold) {
  Pair pair = Begin();
  pair.Shake();
  std::string nothing;
  EXPECT_EQ(pair.client->Open(nothing), Stream::Opened::kNeedsInput);
  EXPECT_EQ(pair.client->TakeSession(), nullptr);
}

// What was given a ticket is resumed, also by a stream that gives none itself.
TEST_F(StreamTest, ServersWithTicketsResume) {
  const auto context =
      Context::ForServers({.certificate = leaf_.Pem(), .key = KeyPem(leaf_.key), .tickets = true});
  ASSERT_TRUE(context.ok()) << context.status();
  std::unique_ptr<Session> session;
  bool given = false;
  for (const bool gives : {true, true, false, true}) {
    Pair pair;
    pair.client = Stream::Client(ClientContext(), kHost, std::move(session));
    pair.server = Stream::Server(*context, gives);
    pair.Shake();
    ASSERT_EQ(pair.client_step, Step::kEstablished);
    ASSERT_EQ(pair.server_step, Step::kEstablished);
    EXPECT_EQ(pair.client->facts().resumed, given);
    EXPECT_EQ(pair.server->facts().resumed, given);
    std::string nothing;
    EXPECT_EQ(pair.client->Open(nothing), Stream::Opened::kNeedsInput);
    session = pair.client->TakeSession();
    EXPECT_EQ(session != nullptr, gives);
    given = gives;
  }
}

TEST_F(StreamTest, ServersWithoutACertificateAreNotMade) {
  EXPECT_FALSE(Context::ForServers({}).ok());
  EXPECT_FALSE(Context::ForServers({.certificate = leaf_.Pem(), .key = "nonsense"}).ok());
}

// RFC 9325 4.2: nothing without forward secrecy and authenticated encryption.
TEST(OfferedSuite, KnowsBothNames) {
  EXPECT_EQ(OfferedSuite("TLS13-AES128-GCM-SHA256"), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(OfferedSuite("TLS_AES_128_GCM_SHA256"), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(OfferedSuite("ECDHE-RSA-AES128-SHA"), "");
  EXPECT_EQ(OfferedSuite("ECDHE-RSA-RC4-SHA"), "");
  EXPECT_EQ(OfferedSuite(""), "");
}

}  // namespace
}  // namespace sluice::tls
