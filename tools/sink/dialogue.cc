#include "tools/sink/dialogue.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::tools {

void Dialogue::Begin(Sinking& sinking, const Start& start) {
  CHECK(!counted_.counted());
  sinking_ = &sinking;
  start_ = start;
  const SinkOptions& options = sinking.options;
  session_options_ = {};
  session_options_.hostname = options.hostname;
  session_options_.software = "sluice-sink";
  session_options_.client = start.client;
  session_options_.message_bytes_max = options.size_max_bytes;
  session_options_.recipients_max = options.recipients_max;
  session_options_.offer_pipelining = options.pipelining;
  session_options_.offer_8bitmime = options.eight_bit_mime;
  session_options_.offer_chunking = options.chunking;
  session_options_.offer_starttls = options.tls != nullptr;
  session_options_.ask_mail = true;
  session_options_.ask_recipients = true;
  session_options_.ask_starttls = true;
  secure_.Begin();
  held_.clear();
  output_.clear();
  wish_ = Wish::kGoOn;
  bytes_per_s_ = 0;
  helo_passed_ = !sinking.faults.Any(FaultStage::kHelo);
  skip_helo_ = false;
  secures_next_ = false;
  sinking.tally.Connected(counted_, start.port_index);
  Reach(FaultStage::kConnect, "", Instant());
  if (wish_ == Wish::kGoOn) Run("", Instant());  // A greeting that refuses is the end already.
}

void Dialogue::Take(absl::string_view bytes, Instant now) {
  if (ended()) return;
  if (secure_.state() == SecureBytes::State::kClear) return TakeText(bytes, now);
  TakeSecure(bytes, now);
}

// The handshake, and what comes within TLS; both may come at once.
void Dialogue::TakeSecure(absl::string_view ciphertext, Instant now) {
  const bool securing = secure_.state() == SecureBytes::State::kSecuring;
  secure_.Take(ciphertext);
  if (securing && secure_.state() == SecureBytes::State::kSecure) {
    sinking_->tally.Secured(counted_, secure_.facts().cipher, secure_.facts().resumed);
    session_.OnTlsEstablished();
  }
  switch (secure_.state()) {
    case SecureBytes::State::kClear:
      CHECK(secure_.state() != SecureBytes::State::kClear);
      return;
    case SecureBytes::State::kSecuring:
      break;
    case SecureBytes::State::kSecure:
      TakeText(secure_.plaintext(), now);
      if (secure_.peer_ended() && !ended()) Stop(Wish::kDrop);
      break;
    case SecureBytes::State::kFailed:
    case SecureBytes::State::kBroken:
      Stop(Wish::kEnd);  // With the alert that says why.
      break;
  }
  GatherOutput();
}

void Dialogue::TakeText(absl::string_view text, Instant now) {
  if (held_.empty() && wish_ == Wish::kGoOn) return Run(text, now);
  held_.append(text.data(), text.size());
  if (wish_ == Wish::kPause) return;
  Run(std::exchange(held_, {}), now);
}

void Dialogue::Resume(Instant now) {
  if (wish_ != Wish::kPause) return;
  wish_ = Wish::kGoOn;
  GoOn(paused_at_);
  Run(std::exchange(held_, {}), now);
}

void Dialogue::TimedOut(Instant now) {
  if (!GiveUpPause(now)) return;
  session_.Timeout();
  Run(std::exchange(held_, {}), now);
}

void Dialogue::ShutDown(Instant now) {
  if (!GiveUpPause(now)) return;
  session_.ShutDown();
  Run(std::exchange(held_, {}), now);
}

// What a delay holds back is not waited for any longer. False: that was the end.
bool Dialogue::GiveUpPause(Instant now) {
  const bool silent = wish_ == Wish::kPause && paused_at_ == FaultStage::kConnect;
  if (silent) Stop(Wish::kDrop);  // No greeting has been said that a 421 could follow.
  const bool owed = wish_ == Wish::kPause && paused_at_ == FaultStage::kDot;
  if (owed) Resume(now);
  if (wish_ == Wish::kPause) wish_ = Wish::kGoOn;
  return wish_ == Wish::kGoOn;
}

void Dialogue::Lost() {
  if (wish_ != Wish::kEnd) wish_ = Wish::kDrop;
  Leave();
}

void Dialogue::Run(absl::string_view input, Instant now) {
  while (wish_ == Wish::kGoOn && Step(input, now)) {
  }
  held_.append(input.data(), input.size());
  GatherOutput();
  // The 220 is the last that leaves in clear.
  const bool secures = std::exchange(secures_next_, false);
  if (secures && wish_ == Wish::kGoOn) StartTls();
}

void Dialogue::StartTls() {
  const bool ticket = sinking_->tickets.Chance(sinking_->options.tickets);
  secure_.StartServer(sinking_->options.tls, ticket);
}

// False: nothing more for now.
bool Dialogue::Step(absl::string_view& input, Instant now) {
  if (!helo_passed_ && !session_.in_data() && HeloIsNext(input)) {
    const size_t line_end = input.find('\n');
    // The session takes partial lines too, so the whole one is waited for in front of it.
    if (line_end == absl::string_view::npos) return input.size() > limits::kPausedInputBytesMax;
    Reach(FaultStage::kHelo, "", now);
    if (std::exchange(skip_helo_, false)) input.remove_prefix(line_end + 1);
    return true;
  }
  switch (session_.Next(input)) {
    case smtp::ServerEvent::kNeedInput:
    case smtp::ServerEvent::kWaiting:
      return false;
    case smtp::ServerEvent::kMail:
      sinking_->tally.MailSeen(counted_);
      Reach(FaultStage::kMail, "", now);
      return true;
    case smtp::ServerEvent::kRecipient: {
      const absl::string_view domain = session_.envelope().recipients.back().destination;
      sinking_->tally.RecipientSeen(counted_, domain, now);
      Reach(FaultStage::kRcpt, domain, now);
      return true;
    }
    case smtp::ServerEvent::kData:
      probe_.Begin();
      if (!sinking_->first_data_at) sinking_->first_data_at = now;
      Reach(FaultStage::kData, MessageDomain(), now);
      return true;
    case smtp::ServerEvent::kBody:
      probe_.Take(session_.body_bytes());
      return true;
    case smtp::ServerEvent::kMessage:
      Reach(FaultStage::kDot, MessageDomain(), now);
      return true;
    case smtp::ServerEvent::kMessageDropped:
      sinking_->refused_by_session += session_.refuses_content();  // Not what RSET has dropped.
      return true;
    case smtp::ServerEvent::kStartTls:
      Reach(FaultStage::kStartTls, "", now);
      return true;
    case smtp::ServerEvent::kClose:
      Stop(Wish::kEnd);
      return false;
  }
  CHECK(false);
}

// Only before the first HELO or EHLO that was let through; another command in its place is the
// session's business.
bool Dialogue::HeloIsNext(absl::string_view input) const {
  const absl::string_view verb = input.substr(0, 4);
  if (verb.empty()) return false;
  return absl::StartsWithIgnoreCase("EHLO", verb) || absl::StartsWithIgnoreCase("HELO", verb);
}

void Dialogue::Reach(FaultStage stage, absl::string_view domain, Instant now) {
  const Fault* fault = sinking_->faults.Next(stage, start_.port, domain);
  if (fault == nullptr) return GoOn(stage);
  switch (fault->action) {
    case FaultAction::kReply:
    case FaultAction::kClose421:
      return RefuseAt(stage, fault->reply);
    case FaultAction::kDrop:
      return Stop(Wish::kDrop);
    case FaultAction::kDelay:
      wish_ = Wish::kPause;
      paused_at_ = stage;
      pause_ = fault->delay;
      return;
    case FaultAction::kSlow:
      bytes_per_s_ = fault->bytes_per_s;
      return GoOn(stage);
    case FaultAction::kAcceptDrop:
      TakeMessage(false);
      return Stop(Wish::kDrop);
  }
}

void Dialogue::RefuseAt(FaultStage stage, absl::string_view reply) {
  switch (stage) {
    case FaultStage::kConnect:
      session_.BeginWith(session_options_, reply);
      return;
    case FaultStage::kHelo:
      GatherOutput();
      Say(absl::StrCat(reply, "\r\n"));
      skip_helo_ = true;
      if (absl::StartsWith(reply, "421")) Stop(Wish::kEnd);
      return;
    case FaultStage::kStartTls:
    case FaultStage::kMail:
    case FaultStage::kRcpt:
    case FaultStage::kData:
    case FaultStage::kDot:
      session_.Refuse(reply);
      return;
  }
}

void Dialogue::GoOn(FaultStage stage) {
  switch (stage) {
    case FaultStage::kConnect:
      session_.Begin(session_options_);
      return;
    case FaultStage::kHelo:
      helo_passed_ = true;
      return;
    case FaultStage::kStartTls:
      session_.Accept();
      secures_next_ = true;
      return;
    case FaultStage::kMail:
    case FaultStage::kRcpt:
    case FaultStage::kData:
      session_.Accept();
      return;
    case FaultStage::kDot:
      TakeMessage(true);
      session_.AcceptMessage(probe_.probe() ? probe_.probe()->id.ToString() : "unknown");
      return;
  }
}

void Dialogue::TakeMessage(bool answered) {
  const auto& recipients = session_.envelope().recipients;
  const ProbeReader::Verdict verdict = probe_.Finish();
  sinking_->tally.MessageTaken(counted_, {.recipients = recipients,
                                          .bytes = session_.message_bytes(),
                                          .verdict = verdict,
                                          .probe = probe_.probe(),
                                          .chunked = session_.chunked(),
                                          .answered = answered});
  if (!sinking_->received.open()) return;
  const std::string id = probe_.probe() ? probe_.probe()->id.ToString() : "-";
  for (const smtp::EnvelopeRecipient& recipient : recipients) {
    sinking_->received.Append(id);
    sinking_->received.Append(" ");
    sinking_->received.Append(recipient.address);
    sinking_->received.Append("\n");
  }
}

void Dialogue::Stop(Wish wish) {
  wish_ = wish;
  Leave();
}

// Of the counts.
void Dialogue::Leave() {
  if (!counted_.counted()) return;
  const bool unsecured = secure_.state() == SecureBytes::State::kSecuring ||
                         secure_.state() == SecureBytes::State::kFailed;
  if (unsecured) sinking_->tally.HandshakeFailed(counted_);
  sinking_->tally.Gone(counted_);
}

void Dialogue::GatherOutput() {
  Say(session_.output());
  session_.ClearOutput();
  if (secure_.state() == SecureBytes::State::kSecure && wish_ == Wish::kEnd) secure_.SealEnd();
  secure_.TakeOutput(output_);
}

// During the handshake and where it has failed the session has nothing to say.
void Dialogue::Say(absl::string_view text) {
  if (text.empty()) return;
  if (secure_.state() == SecureBytes::State::kClear) {
    output_.append(text.data(), text.size());
  } else if (!secure_.Seal(text)) {
    Stop(Wish::kDrop);
  }
}

absl::string_view Dialogue::MessageDomain() const {
  return session_.envelope().recipients.front().destination;
}

}  // namespace sluice::tools
