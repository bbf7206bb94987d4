#include "engine/delivery/channel.h"

#include <utility>

#include "engine/base/check.h"

namespace sluice::delivery {

using tls::HandshakeJob;

void Channel::Begin() {
  state_ = State::kClear;
  job_.reset();
  std::string().swap(waiting_);
  std::string().swap(opened_);
}

std::unique_ptr<HandshakeJob> Channel::BeginHandshake(std::shared_ptr<const tls::ClientPlan> plan,
                                                      Instant deadline) {
  CHECK(state_ == State::kClear);
  state_ = State::kSecuring;
  auto job = std::make_unique<HandshakeJob>();
  job->plan = std::move(plan);
  job->deadline = deadline;
  return job;
}

void Channel::AwaitHandshake(std::shared_ptr<const tls::Context> context, Instant deadline) {
  CHECK(state_ == State::kClear);
  state_ = State::kSecuring;
  job_ = std::make_unique<HandshakeJob>();
  job_->server = std::move(context);
  job_->deadline = deadline;
}

std::unique_ptr<HandshakeJob> Channel::OnFlight(std::unique_ptr<HandshakeJob> job) {
  CHECK(state_ == State::kSecuring);
  CHECK(job_ == nullptr);
  job_ = std::move(job);
  switch (job_->step) {
    case tls::Step::kNeedsInput:
      return waiting_.empty() ? nullptr : Continue();
    case tls::Step::kEstablished:
      state_ = State::kSecure;
      return nullptr;
    case tls::Step::kFailed:
      state_ = State::kBroken;
      return nullptr;
  }
  return nullptr;
}

std::unique_ptr<HandshakeJob> Channel::OnCiphertext(absl::string_view bytes) {
  CHECK(state_ == State::kSecuring);
  waiting_.append(bytes.data(), bytes.size());
  return job_ == nullptr ? nullptr : Continue();
}

std::unique_ptr<HandshakeJob> Channel::Continue() {
  job_->input = std::exchange(waiting_, {});
  return std::move(job_);
}

policy::TlsFinding Channel::finding() const {
  CHECK(state_ == State::kBroken);
  if (job_->timed_out) return policy::TlsFinding::kHandshakeTimeout;
  switch (job_->stream->fault()) {
    case tls::StreamFault::kProtocol:
      return policy::TlsFinding::kProtocol;
    case tls::StreamFault::kCipher:
      return policy::TlsFinding::kCipher;
    case tls::StreamFault::kNone:
    case tls::StreamFault::kHandshake:
    case tls::StreamFault::kTooLarge:
      break;
  }
  return policy::TlsFinding::kHandshakeFailed;
}

absl::string_view Channel::fault_detail() const {
  CHECK(state_ == State::kBroken);
  return job_->timed_out ? "it took too long" : job_->stream->fault_detail();
}

bool Channel::Seal(absl::string_view plaintext) {
  CHECK(state_ == State::kSecure);
  return job_->stream->Seal(plaintext);
}

bool Channel::Seal(io::Bytes plaintext) {
  return Seal(io::TextOf(plaintext));
}

tls::Stream::Opened Channel::Open(absl::string_view ciphertext, absl::string_view& plaintext) {
  CHECK(state_ == State::kSecure);
  opened_.clear();
  // What came behind the last flight, before we knew that it was the last.
  if (!waiting_.empty()) job_->stream->Feed(std::exchange(waiting_, {}));
  job_->stream->Feed(ciphertext);
  const tls::Stream::Opened opened = job_->stream->Open(opened_);
  plaintext = opened_;
  return opened;
}

bool Channel::TakeOutput(std::string& buffer) {
  if (job_ == nullptr || job_->stream == nullptr || job_->stream->output().empty()) return false;
  buffer.clear();
  job_->stream->TakeOutput(buffer);
  return true;
}

}  // namespace sluice::delivery
