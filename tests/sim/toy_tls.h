// A toy in the place of TLS: the same flights and records, a cipher that anybody could break, and a
// certificate that is a line of text. What it is for: sealed bytes can be told from clear ones, a
// byte that is sealed, changed or left out shows, and a handshake takes its flights.
//
//   record: a byte that no command begins with, 'T', two bytes of length, so many bytes
//   flights: client's hello ► ◄ server's hello with its certificate; client's end ►
//
// The server may ask for the hello once more, so that there are more flights.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tls/stream.h"

namespace sluice::sim {

// What a server shows; and what it is worth, which everybody here can see.
struct ToyCertificate {
  bool shown = true;  // False: it shows none at all.
  bool trusted = true;
  bool expired = false;
  std::vector<std::string> names;

  std::string ToText() const;
  static std::optional<ToyCertificate> Parse(absl::string_view text);
  bool Names(absl::string_view name) const;
};

class ToyStream final : public tls::Stream {
 public:
  // `nonce`: of this side, for the cipher.
  static std::unique_ptr<ToyStream> Client(uint64_t nonce, absl::string_view server_name);
  static std::unique_ptr<ToyStream> Server(uint64_t nonce, const ToyCertificate& certificate,
                                           bool asks_again);

  void Feed(absl::string_view ciphertext) override;
  tls::Step Handshake() override;
  bool Seal(absl::string_view plaintext) override;
  Opened Open(std::string& plaintext) override;
  void Close() override;
  std::unique_ptr<tls::Session> TakeSession() override { return nullptr; }

  // --- For judging, where the peer uses it.
  bool fed() const { return !input_.empty() || input_at_ > 0; }
  // What came is no record: clear text, or rubbish.
  bool heard_no_record() const { return heard_no_record_; }
  // Where in the ciphertext, from the first byte that was fed, the record begins that brought byte
  // `at` of the plaintext.
  uint64_t CiphertextOf(uint64_t at) const;
  // A server breaks the handshake off: `why` is 'p' (the version), 'c' (the cipher), 'h'.
  void SendAlert(char why);

 private:
  enum class Kind : uint8_t { kHello = 0x96, kData = 0x97, kEnd = 0x95 };
  struct Record {
    Kind kind{};
    std::string payload;
    uint64_t at = 0;  // In the ciphertext.
  };
  // The two ways have their own keys and count their own records.
  struct Way {
    uint64_t key = 0;
    uint64_t records = 0;
  };

  ToyStream(bool client, uint64_t nonce) : client_(client), nonce_(nonce) {}
  void Put(Kind kind, absl::string_view payload);
  bool Take(Record& record);
  tls::Step OnRecordOfClient(const Record& record);
  tls::Step OnRecordOfServer(const Record& record);
  tls::Step FailByAlert(absl::string_view payload);
  tls::Step Establish(uint64_t client_nonce, uint64_t server_nonce);
  static void Cipher(Way& way, std::string& bytes);
  static std::string NonceText(uint64_t nonce);

  const bool client_;
  const uint64_t nonce_;
  uint64_t other_nonce_ = 0;
  std::string server_name_;
  std::string certificate_;
  bool asks_again_ = false;
  bool said_hello_ = false;
  bool established_ = false;
  bool heard_no_record_ = false;
  bool closed_ = false;
  Way seals_;
  Way opens_;
  std::string input_;
  uint64_t input_at_ = 0;  // In the ciphertext.
  uint64_t opened_bytes_ = 0;
  struct Opening {
    uint64_t plaintext_at;
    uint64_t ciphertext_at;
  };
  std::vector<Opening> openings_;
};

}  // namespace sluice::sim
