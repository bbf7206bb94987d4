#include "tests/sim/toy_tls.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice::sim {
namespace {

constexpr size_t kHeaderBytes = 4;
constexpr size_t kRecordBytesMax = 4096;
constexpr size_t kNonceBytes = 8;

uint8_t SumOf(absl::string_view bytes) {
  uint8_t sum = 0x5a;
  for (const char c : bytes) sum = static_cast<uint8_t>(sum * 31 + static_cast<uint8_t>(c));
  return sum;
}

uint64_t NonceIn(absl::string_view text) {
  uint64_t nonce = 0;
  std::memcpy(&nonce, text.data(), kNonceBytes);
  return nonce;
}

}  // namespace

// -------------------------------------------------------------------------------------------------
// Certificates.

std::string ToyCertificate::ToText() const {
  if (!shown) return "";
  return absl::StrCat("certificate ", trusted ? "trusted" : "untrusted", " ",
                      expired ? "expired" : "valid", " ", absl::StrJoin(names, ","));
}

std::optional<ToyCertificate> ToyCertificate::Parse(absl::string_view text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  if (words.size() != 4 || words[0] != "certificate") return std::nullopt;
  return ToyCertificate{.trusted = words[1] == "trusted",
                        .expired = words[2] == "expired",
                        .names = absl::StrSplit(words[3], ',', absl::SkipEmpty())};
}

bool ToyCertificate::Names(absl::string_view name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// -------------------------------------------------------------------------------------------------
// Records.

std::unique_ptr<ToyStream> ToyStream::Client(uint64_t nonce, absl::string_view server_name) {
  std::unique_ptr<ToyStream> stream(new ToyStream(true, nonce));
  stream->server_name_ = std::string(server_name);
  return stream;
}

std::unique_ptr<ToyStream> ToyStream::Server(uint64_t nonce, const ToyCertificate& certificate,
                                             bool asks_again) {
  std::unique_ptr<ToyStream> stream(new ToyStream(false, nonce));
  stream->certificate_ = certificate.ToText();
  stream->asks_again_ = asks_again;
  return stream;
}

void ToyStream::Feed(absl::string_view ciphertext) {
  if (!closed_) input_.append(ciphertext.data(), ciphertext.size());
}

void ToyStream::Put(Kind kind, absl::string_view payload) {
  CHECK(payload.size() <= UINT16_MAX);
  output_ += static_cast<char>(kind);
  output_ += 'T';
  output_ += static_cast<char>(payload.size() >> 8);
  output_ += static_cast<char>(payload.size() & 0xff);
  output_.append(payload.data(), payload.size());
}

// False: there is no whole one yet, or what is there is none.
bool ToyStream::Take(Record& record) {
  if (input_.empty()) return false;
  const auto kind = static_cast<Kind>(static_cast<uint8_t>(input_[0]));
  const bool known = kind == Kind::kHello || kind == Kind::kData || kind == Kind::kEnd;
  if (!known || (input_.size() > 1 && input_[1] != 'T')) {
    heard_no_record_ = true;
    Fail(tls::StreamFault::kHandshake, "what came is no record");
    return false;
  }
  if (input_.size() < kHeaderBytes) return false;
  const size_t bytes =
      size_t{static_cast<uint8_t>(input_[2])} << 8 | static_cast<uint8_t>(input_[3]);
  if (input_.size() < kHeaderBytes + bytes) return false;
  record = {.kind = kind, .payload = input_.substr(kHeaderBytes, bytes), .at = input_at_};
  input_.erase(0, kHeaderBytes + bytes);
  input_at_ += kHeaderBytes + bytes;
  return true;
}

// -------------------------------------------------------------------------------------------------
// The handshake.

std::string ToyStream::NonceText(uint64_t nonce) {
  std::string text(kNonceBytes, ' ');
  std::memcpy(text.data(), &nonce, kNonceBytes);
  return text;
}

tls::Step ToyStream::Handshake() {
  CHECK(!established_);
  if (fault() != tls::StreamFault::kNone) return tls::Step::kFailed;
  if (client_ && !said_hello_) {
    said_hello_ = true;
    Put(Kind::kHello, absl::StrCat("C", NonceText(nonce_), server_name_));
  }
  Record record;
  while (Take(record)) {
    if (record.kind == Kind::kEnd) return FailByAlert(record.payload);
    const tls::Step step = client_ ? OnRecordOfServer(record) : OnRecordOfClient(record);
    if (step != tls::Step::kNeedsInput) return step;
  }
  return fault() == tls::StreamFault::kNone ? tls::Step::kNeedsInput : tls::Step::kFailed;
}

tls::Step ToyStream::FailByAlert(absl::string_view payload) {
  if (payload == "p") return Fail(tls::StreamFault::kProtocol, "the peer has another version");
  if (payload == "c") return Fail(tls::StreamFault::kCipher, "the peer has another cipher");
  return Fail(tls::StreamFault::kHandshake, "the peer sent an alert");
}

tls::Step ToyStream::OnRecordOfServer(const Record& record) {
  absl::string_view payload = record.payload;
  if (record.kind != Kind::kHello || payload.empty()) {
    return Fail(tls::StreamFault::kHandshake, "not a hello");
  }
  if (payload == "again") {
    Put(Kind::kHello, absl::StrCat("C", NonceText(nonce_), server_name_));
    return tls::Step::kNeedsInput;
  }
  if (!absl::ConsumePrefix(&payload, "S") || payload.size() < kNonceBytes) {
    return Fail(tls::StreamFault::kHandshake, "not a server's hello");
  }
  other_nonce_ = NonceIn(payload);
  payload.remove_prefix(kNonceBytes);
  if (!payload.empty()) {
    const auto* bytes = reinterpret_cast<const std::byte*>(payload.data());
    facts_.chain.emplace_back(bytes, bytes + payload.size());
  }
  Put(Kind::kHello, "F");
  return Establish(nonce_, other_nonce_);
}

tls::Step ToyStream::OnRecordOfClient(const Record& record) {
  absl::string_view payload = record.payload;
  if (record.kind != Kind::kHello) return Fail(tls::StreamFault::kHandshake, "not a hello");
  if (payload == "F" && said_hello_) return Establish(other_nonce_, nonce_);
  if (!absl::ConsumePrefix(&payload, "C") || payload.size() < kNonceBytes || said_hello_) {
    return Fail(tls::StreamFault::kHandshake, "not a client's hello");
  }
  if (std::exchange(asks_again_, false)) {
    Put(Kind::kHello, "again");
    return tls::Step::kNeedsInput;
  }
  said_hello_ = true;
  other_nonce_ = NonceIn(payload);
  Put(Kind::kHello, absl::StrCat("S", NonceText(nonce_), certificate_));
  return tls::Step::kNeedsInput;
}

tls::Step ToyStream::Establish(uint64_t client_nonce, uint64_t server_nonce) {
  const Way to_server = {.key = client_nonce * 0x9e3779b97f4a7c15 ^ server_nonce};
  const Way to_client = {.key = server_nonce * 0xbf58476d1ce4e5b9 ^ client_nonce};
  seals_ = client_ ? to_server : to_client;
  opens_ = client_ ? to_client : to_server;
  facts_.protocol = "TLSv1.3";
  facts_.cipher = "TLS_TOY";
  established_ = true;
  return tls::Step::kEstablished;
}

void ToyStream::SendAlert(char why) {
  Put(Kind::kEnd, absl::string_view(&why, 1));
}

// -------------------------------------------------------------------------------------------------
// Once established.

void ToyStream::Cipher(Way& way, std::string& bytes) {
  uint64_t state = way.key + ++way.records * 0x94d049bb133111eb;
  for (char& c : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    c = static_cast<char>(static_cast<uint8_t>(c) ^ static_cast<uint8_t>(state));
  }
}

bool ToyStream::Seal(absl::string_view plaintext) {
  CHECK(established_);
  while (!plaintext.empty() && fault() == tls::StreamFault::kNone) {
    std::string bytes(plaintext.substr(0, kRecordBytesMax));
    plaintext.remove_prefix(bytes.size());
    bytes += static_cast<char>(SumOf(bytes));
    Cipher(seals_, bytes);
    Put(Kind::kData, bytes);
  }
  return fault() == tls::StreamFault::kNone;
}

tls::Stream::Opened ToyStream::Open(std::string& plaintext) {
  CHECK(established_);
  if (closed_) return Opened::kClosed;
  Record record;
  while (fault() == tls::StreamFault::kNone && Take(record)) {
    if (record.kind == Kind::kEnd && record.payload == "end") {
      closed_ = true;
      input_.clear();
      return Opened::kClosed;
    }
    if (record.kind != Kind::kData || record.payload.empty()) {
      Fail(tls::StreamFault::kHandshake, "an alert, or a hello after the handshake");
      break;
    }
    Cipher(opens_, record.payload);
    const auto sum = static_cast<uint8_t>(record.payload.back());
    record.payload.pop_back();
    if (sum != SumOf(record.payload)) {
      Fail(tls::StreamFault::kHandshake, "a record that was tampered with");
      break;
    }
    openings_.push_back({.plaintext_at = opened_bytes_, .ciphertext_at = record.at});
    opened_bytes_ += record.payload.size();
    plaintext += record.payload;
  }
  return fault() == tls::StreamFault::kNone ? Opened::kNeedsInput : Opened::kFailed;
}

void ToyStream::Close() {
  if (established_ && fault() == tls::StreamFault::kNone) Put(Kind::kEnd, "end");
}

uint64_t ToyStream::CiphertextOf(uint64_t at) const {
  const auto after = std::upper_bound(
      openings_.begin(), openings_.end(), at,
      [](uint64_t wanted, const Opening& opening) { return wanted < opening.plaintext_at; });
  CHECK(after != openings_.begin());
  return (after - 1)->ciphertext_at;
}

}  // namespace sluice::sim
