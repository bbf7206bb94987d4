#include "tls/stream.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/crypto_device.h"

namespace sluice::tls {
namespace {

// What a peer may send before the handshake is over: a chain has up to 100 KB and is sent once.
constexpr uint64_t kHandshakeBytesMax = 256 << 10;

// What waits to be sent while the peer sends on: what we seal is taken at once, so these are
// answers to a flood of key updates (F28), and the last piece sealed.
constexpr size_t kUnaskedOutputBytesMax = 256 << 10;

// Records that a peer may send after the handshake without a byte of plaintext in them: fresh keys,
// tickets, warnings (F28). A peer has use for a handful; padding does not count.
constexpr uint32_t kBarrenRecordsMax = 1'000;
constexpr size_t kRecordHeaderBytes = 5;

constexpr size_t kRecordBytesMax = 16 << 10;

// TLS alerts, RFC 8446 6.
constexpr int kAlertProtocolVersion = 70;
constexpr int kAlertInsufficientSecurity = 71;

StreamFault FaultOf(WOLFSSL* ssl, int error) {
  switch (error) {
    case VERSION_ERROR:
      return StreamFault::kProtocol;
    case MATCH_SUITE_ERROR:
    case UNSUPPORTED_SUITE:
    case DH_KEY_SIZE_E:
    case ECC_CURVE_ERROR:
      return StreamFault::kCipher;
    case FATAL_ERROR: {
      WOLFSSL_ALERT_HISTORY history = {};
      wolfSSL_get_alert_history(ssl, &history);
      if (history.last_rx.code == kAlertProtocolVersion) return StreamFault::kProtocol;
      if (history.last_rx.code == kAlertInsufficientSecurity) return StreamFault::kCipher;
      return StreamFault::kHandshake;
    }
    default:
      return StreamFault::kHandshake;
  }
}

std::string Describe(WOLFSSL* ssl, int error) {
  if (error == 0) return "the connection was closed";
  if (error == FATAL_ERROR) {
    WOLFSSL_ALERT_HISTORY history = {};
    wolfSSL_get_alert_history(ssl, &history);
    return absl::StrCat("the peer sent the alert ",
                        wolfSSL_alert_desc_string_long(history.last_rx.code));
  }
  return absl::StrCat(wolfSSL_ERR_reason_error_string(static_cast<unsigned long>(error)), " (",
                      error, ")");
}

// wolfSSL's callbacks read from a buffer and say when that is empty, and write to one that never
// refuses; so its known troubles with a full socket cannot arise (reliability: PR 7001, 7237, 981).
class WolfStream final : public Stream {
 public:
  explicit WolfStream(std::shared_ptr<const Context> context);
  ~WolfStream() override { wolfSSL_free(ssl_); }

  // False: memory has run out.
  bool made() const { return ssl_ != nullptr; }
  void BeClient(absl::string_view server_name, std::unique_ptr<Session> session);
  void GiveNoTicket();

  void Feed(absl::string_view ciphertext) override {
    if (!closed_) input_.append(ciphertext.data(), ciphertext.size());
  }
  Step Handshake() override;
  bool Seal(absl::string_view plaintext) override;
  Opened Open(std::string& plaintext) override;
  void Close() override;
  std::unique_ptr<Session> TakeSession() override;

  void TakeChain(const WOLFSSL_X509_STORE_CTX& store);

 private:
  Step FailByError(int error) { return Fail(FaultOf(ssl_, error), Describe(ssl_, error)); }
  Step Establish();
  void TakeInput(size_t bytes);
  void CountRecords(absl::string_view bytes);

  // wolfSSL's callbacks.
  static int OnRead(WOLFSSL* ssl, char* into, int bytes, void* stream);
  static int OnWrite(WOLFSSL* ssl, char* from, int bytes, void* stream);
  static int OnTicket(WOLFSSL* ssl, const unsigned char* ticket, int bytes, void* stream);

  std::shared_ptr<const Context> context_;
  WOLFSSL* ssl_ = nullptr;
  bool client_ = false;
  bool established_ = false;
  bool closed_ = false;  // The peer has said that no more comes: what does is dropped.
  bool ticket_came_ = false;
  bool session_taken_ = false;
  uint64_t fed_bytes_ = 0;  // That the handshake has read.

  // Of the records read since then.
  std::string header_;           // The front of a header whose end has not come.
  size_t record_left_ = 0;       // Of the record behind it.
  uint32_t barren_records_ = 0;  // That have brought no plaintext.

  std::string input_;
  size_t input_read_ = 0;  // Of input_, from the front.
};

}  // namespace

// Takes the whole chain at the first of its calls; later ones are about the same.
int CollectChain(int, WOLFSSL_X509_STORE_CTX* store) {
  static_cast<WolfStream*>(store->userCtx)->TakeChain(*store);
  return 1;
}

void WolfStream::TakeChain(const WOLFSSL_X509_STORE_CTX& store) {
  if (!facts_.chain.empty()) return;
  for (int i = 0; i < store.totalCerts; ++i) {
    const auto* der = reinterpret_cast<const std::byte*>(store.certs[i].buffer);
    facts_.chain.emplace_back(der, der + store.certs[i].length);
  }
}

WolfStream::WolfStream(std::shared_ptr<const Context> context) : context_(std::move(context)) {
  ssl_ = wolfSSL_new(context_->get());
  if (ssl_ == nullptr) return;
  wolfSSL_SSLSetIORecv(ssl_, &WolfStream::OnRead);
  wolfSSL_SSLSetIOSend(ssl_, &WolfStream::OnWrite);
  wolfSSL_SetIOReadCtx(ssl_, this);
  wolfSSL_SetIOWriteCtx(ssl_, this);
  wolfSSL_SetCertCbCtx(ssl_, this);
  if (context_->signing_key() != nullptr) SignBy(*context_->signing_key(), ssl_);
}

void WolfStream::BeClient(absl::string_view server_name, std::unique_ptr<Session> session) {
  client_ = true;
  if (!server_name.empty()) {
    const int named = wolfSSL_UseSNI(ssl_, WOLFSSL_SNI_HOST_NAME, server_name.data(),
                                     static_cast<unsigned short>(server_name.size()));
    CHECK(named == WOLFSSL_SUCCESS);
  }
  if (session != nullptr) session->OfferBy(ssl_);
  wolfSSL_set_SessionTicket_cb(ssl_, &WolfStream::OnTicket, this);
  wolfSSL_UseKeyShare(ssl_, WOLFSSL_ECC_X25519);
}

std::unique_ptr<Stream> Stream::Client(std::shared_ptr<const Context> context,
                                       absl::string_view server_name,
                                       std::unique_ptr<Session> session) {
  auto stream = std::make_unique<WolfStream>(std::move(context));
  if (!stream->made()) return nullptr;
  stream->BeClient(server_name, std::move(session));
  return stream;
}

void WolfStream::GiveNoTicket() {
  CHECK(wolfSSL_no_ticket_TLSv13(ssl_) == 0);
  CHECK(wolfSSL_NoTicketTLSv12(ssl_) == WOLFSSL_SUCCESS);
}

std::unique_ptr<Stream> Stream::Server(std::shared_ptr<const Context> context, bool ticket) {
  auto stream = std::make_unique<WolfStream>(std::move(context));
  if (!stream->made()) return nullptr;
  if (!ticket) stream->GiveNoTicket();
  return stream;
}

int WolfStream::OnRead(WOLFSSL*, char* into, int bytes, void* context) {
  auto* stream = static_cast<WolfStream*>(context);
  const size_t left = stream->input_.size() - stream->input_read_;
  if (left == 0) return WOLFSSL_CBIO_ERR_WANT_READ;
  const size_t take = std::min(left, static_cast<size_t>(bytes));
  std::memcpy(into, stream->input_.data() + stream->input_read_, take);
  stream->TakeInput(take);
  return static_cast<int>(take);
}

int WolfStream::OnWrite(WOLFSSL*, char* from, int bytes, void* context) {
  auto* stream = static_cast<WolfStream*>(context);
  stream->output_.append(from, static_cast<size_t>(bytes));
  return bytes;
}

int WolfStream::OnTicket(WOLFSSL*, const unsigned char*, int, void* context) {
  static_cast<WolfStream*>(context)->ticket_came_ = true;
  return 0;
}

void WolfStream::TakeInput(size_t bytes) {
  input_read_ += bytes;
  if (established_) {
    CountRecords(absl::string_view(input_).substr(input_read_ - bytes, bytes));
  } else {
    fed_bytes_ += bytes;
  }
  if (input_read_ < input_.size()) return;
  input_.clear();
  input_read_ = 0;
}

// RFC 8446 5.1: type, version and the length of what follows.
void WolfStream::CountRecords(absl::string_view bytes) {
  while (!bytes.empty()) {
    const size_t skipped = std::min(record_left_, bytes.size());
    record_left_ -= skipped;
    bytes.remove_prefix(skipped);
    const size_t missing = std::min(kRecordHeaderBytes - header_.size(), bytes.size());
    header_.append(bytes.data(), missing);
    bytes.remove_prefix(missing);
    if (header_.size() < kRecordHeaderBytes) return;
    record_left_ = static_cast<size_t>(static_cast<uint8_t>(header_[3]) << 8 |
                                       static_cast<uint8_t>(header_[4]));
    header_.clear();
    ++barren_records_;  // Until plaintext has come of it.
  }
}

Step WolfStream::Handshake() {
  CHECK(!established_);
  if (fault() != StreamFault::kNone) return Step::kFailed;
  const int result = client_ ? wolfSSL_connect(ssl_) : wolfSSL_accept(ssl_);
  if (result == WOLFSSL_SUCCESS) return Establish();
  const int error = wolfSSL_get_error(ssl_, result);
  if (error != WOLFSSL_ERROR_WANT_READ) return FailByError(error);
  if (fed_bytes_ > kHandshakeBytesMax) {
    return Fail(StreamFault::kTooLarge, "the peer sent too much before the handshake was over");
  }
  return Step::kNeedsInput;
}

Step WolfStream::Establish() {
  facts_.protocol = wolfSSL_get_version(ssl_);
  const char* suite = wolfSSL_get_cipher_name(ssl_);
  facts_.cipher = std::string(OfferedSuite(suite));
  facts_.resumed = wolfSSL_session_reused(ssl_) != 0;
  // A server may pick what was not offered (CVE-2024-5814).
  if (facts_.cipher.empty()) {
    return Fail(StreamFault::kCipher, absl::StrCat("the suite ", suite, " was not offered"));
  }
  const bool good_version = facts_.protocol == "TLSv1.3" ||
                            (facts_.protocol == "TLSv1.2" && context_->least() == Version::kTls12);
  if (!good_version) return Fail(StreamFault::kProtocol, facts_.protocol);
  established_ = true;
  return Step::kEstablished;
}

bool WolfStream::Seal(absl::string_view plaintext) {
  CHECK(established_);
  while (!plaintext.empty()) {
    if (fault() != StreamFault::kNone) return false;
    const int asked = static_cast<int>(std::min(plaintext.size(), kRecordBytesMax));
    const int written = wolfSSL_write(ssl_, plaintext.data(), asked);
    if (written <= 0) {
      FailByError(wolfSSL_get_error(ssl_, written));
      return false;
    }
    plaintext.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

Stream::Opened WolfStream::Open(std::string& plaintext) {
  CHECK(established_);
  std::array<char, kRecordBytesMax> buffer;
  if (closed_) return Opened::kClosed;
  while (fault() == StreamFault::kNone) {
    const int read = wolfSSL_read(ssl_, buffer.data(), static_cast<int>(buffer.size()));
    if (read > 0) {
      plaintext.append(buffer.data(), static_cast<size_t>(read));
      if (barren_records_ > 0) --barren_records_;  // A read ends with its record.
      continue;
    }
    const int error = wolfSSL_get_error(ssl_, read);
    if (error == WOLFSSL_ERROR_ZERO_RETURN) {
      closed_ = true;
      input_.clear();
      input_read_ = 0;
      return Opened::kClosed;
    }
    if (error != WOLFSSL_ERROR_WANT_READ) {
      FailByError(error);
      break;
    }
    if (output_.size() > kUnaskedOutputBytesMax) {
      Fail(StreamFault::kTooLarge, "the peer asked for too many answers");
    } else if (barren_records_ > kBarrenRecordsMax) {
      Fail(StreamFault::kTooLarge, "the peer sent too much that says nothing");
    } else {
      return Opened::kNeedsInput;
    }
  }
  return Opened::kFailed;
}

void WolfStream::Close() {
  if (established_ && fault() == StreamFault::kNone) wolfSSL_shutdown(ssl_);
}

std::unique_ptr<Session> WolfStream::TakeSession() {
  // A ticket that was offered stands in the session until a new one comes.
  if (session_taken_ || !ticket_came_ || !established_) return nullptr;
  WOLFSSL_SESSION* session = wolfSSL_get1_session(ssl_);
  if (session == nullptr) return nullptr;
  std::unique_ptr<Session> copy = Session::CopyOf(session);
  wolfSSL_SESSION_free(session);
  session_taken_ = copy != nullptr;
  return copy;
}

}  // namespace sluice::tls
