#include "tools/secure_bytes.h"

#include <utility>

#include "engine/base/check.h"

namespace sluice::tools {

void SecureBytes::Begin() {
  state_ = State::kClear;
  stream_.reset();
  plaintext_.clear();
  peer_ended_ = end_sealed_ = false;
}

void SecureBytes::StartServer(const std::shared_ptr<const tls::Context>& context, bool ticket) {
  Start(tls::Stream::Server(context, ticket));
}

void SecureBytes::StartClient(const std::shared_ptr<const tls::Context>& context) {
  Start(tls::Stream::Client(context, "", nullptr));
  if (state_ == State::kSecuring) Advance();  // The client speaks first.
}

void SecureBytes::Start(std::unique_ptr<tls::Stream> stream) {
  CHECK(state_ == State::kClear);
  stream_ = std::move(stream);
  state_ = stream_ == nullptr ? State::kFailed : State::kSecuring;
}

void SecureBytes::Take(absl::string_view ciphertext) {
  CHECK(state_ != State::kClear);
  plaintext_.clear();
  if (state_ == State::kFailed || state_ == State::kBroken) return;
  stream_->Feed(ciphertext);
  if (state_ == State::kSecuring) Advance();
  if (state_ == State::kSecure) Open();
}

void SecureBytes::Advance() {
  switch (stream_->Handshake()) {
    case tls::Step::kNeedsInput:
      return;
    case tls::Step::kEstablished:
      state_ = State::kSecure;
      return;
    case tls::Step::kFailed:
      state_ = State::kFailed;
      return;
  }
}

void SecureBytes::Open() {
  switch (stream_->Open(plaintext_)) {
    case tls::Stream::Opened::kNeedsInput:
      return;
    case tls::Stream::Opened::kClosed:
      peer_ended_ = true;
      return;
    case tls::Stream::Opened::kFailed:
      state_ = State::kBroken;
      return;
  }
}

bool SecureBytes::Seal(absl::string_view plaintext) {
  CHECK(state_ == State::kSecure);
  if (!stream_->Seal(plaintext)) state_ = State::kBroken;
  return state_ == State::kSecure;
}

void SecureBytes::SealEnd() {
  CHECK(state_ == State::kSecure);
  if (!std::exchange(end_sealed_, true)) stream_->Close();
}

void SecureBytes::TakeOutput(std::string& to) {
  if (stream_ == nullptr) return;
  if (to.empty()) return stream_->TakeOutput(to);
  std::string output;
  stream_->TakeOutput(output);
  to += output;
}

absl::string_view SecureBytes::fault() const {
  return stream_ == nullptr ? "no memory or descriptors for TLS" : stream_->fault_detail();
}

}  // namespace sluice::tools
