#include "tests/sim/sim_peer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

template <size_t kCount>
const char* Draw(World& world, const char* const (&choices)[kCount]) {
  return choices[world.random().Below(kCount)];
}

// The message as it was before it was stuffed; nothing if it was not stuffed right.
bool Unstuff(absl::string_view wire, std::string& message) {
  while (!wire.empty()) {
    const size_t end = wire.find("\r\n");
    if (end == absl::string_view::npos) return false;
    absl::string_view line = wire.substr(0, end);
    wire.remove_prefix(end + 2);
    if (line.find_first_of("\r\n") != absl::string_view::npos) return false;
    if (absl::ConsumePrefix(&line, ".") && line.empty()) return false;
    absl::StrAppend(&message, line, "\r\n");
  }
  return true;
}

}  // namespace

void PeerHost::OnCall(Connection& connection) {
  sessions_.push_back(std::make_unique<PeerSession>(scene_, manners_, domain_, next_call_,
                                                    connection, unanswered_));
}

PeerSession::PeerSession(Scene& scene, const Manners& manners, const std::string& domain,
                         uint64_t call, Connection& connection, std::multiset<Instant>& unanswered)
    : scene_(scene),
      manners_(manners),
      domain_(domain),
      call_(call),
      connection_(connection),
      unanswered_(unanswered) {
  connection_.Attach(1, this);
  Greet();
}

void PeerSession::Judge(bool fine, absl::string_view fault) {
  if (fine) return;
  scene_.world.Violated("peer",
                        absl::StrCat(domain_, ", connection ", connection_.number(), ": ", fault));
}

// -------------------------------------------------------------------------------------------------
// Answering.

void PeerSession::Answer(std::string text, State then, bool closes) {
  Duration delay = scene_.world.Delay(microseconds(10), manners_.answer_max);
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.slow * 0.2)) {
    delay = scene_.world.Delay(seconds(1), minutes(15));
  }
  if (manners_.multi_line && text.size() > 4 && scene_.world.Chance(0.5)) {
    text = absl::StrCat(text.substr(0, 3), "-first of two lines\r\n", text);
  }
  AnswerAfter(delay, std::move(text), then, closes);
}

void PeerSession::AnswerAfter(Duration delay, std::string text, State then, bool closes) {
  CHECK(!answering_);
  answering_ = true;
  scene_.world.After(delay, [this, text = std::move(text), then, closes] {
    if (state_ == State::kGone) return;
    answering_ = false;
    state_ = then;
    scene_.world.Happens("peer says", connection_.number(), call_, text);
    Write(text + "\r\n");
    heard_ = connection_.bytes_written(1) > last_reply_;
    last_reply_ = connection_.bytes_written(1);
    if (barrier_next_) barrier_ = last_reply_;
    barrier_next_ = false;
    for (const uint32_t number : deliveries_) {
      scene_.ledger.deliveries[number].reply_end = last_reply_;
    }
    deliveries_.clear();
    if (refused_ != nullptr) {
      refused_->refusal = {.connection = connection_.number(),
                           .transaction = transactions_,
                           .reply_end = last_reply_,
                           .garbled = garbled_,
                           .life = scene_.ledger.life,
                           .when = scene_.world.instant()};
    }
    refused_ = nullptr;
    if (closes) return Close(scene_.world.Chance(0.2));
    Process();
  });
}

void PeerSession::Close(bool reset) {
  if (state_ == State::kGone) return;
  scene_.world.Happens("peer closes", connection_.number(), reset);
  state_ = State::kGone;
  if (reset) {
    connection_.Reset(1);
  } else {
    connection_.Finish(1);
  }
}

void PeerSession::Greet() {
  World& world = scene_.world;
  barrier_next_ = true;
  const Faults& faults = scene_.options.faults;
  if (scene_.faults_on && world.Chance(faults.greeting)) {
    switch (world.Between(0, 5)) {
      case 0:
        return Answer("421 4.3.2 not now", State::kStart, /*closes=*/true);
      case 1:
        return Answer("554 5.7.1 not you", State::kStart);
      case 2:
        scene_.ledger.domains.at(domain_).may_bounce = true;
        return Answer("521 5.3.2 takes no mail", State::kStart, /*closes=*/true);
      case 3:
        garbled_ = true;
        return Answer("hello, who is there", State::kStart);
      case 4:
        deaf_ = true;
        return;
      default:
        return Close(world.Chance(0.5));
    }
  }
  Answer("220 mx.test ESMTP model", State::kStart);
}

// A fault that is not an answer. True: it has happened.
bool PeerSession::MisbehavesAt(Stage stage) {
  if (!scene_.faults_on) return false;
  World& world = scene_.world;
  const Faults& faults = scene_.options.faults;
  if (world.Chance(faults.command_close * 0.3)) {
    Close(world.Chance(0.5));
    return true;
  }
  if (world.Chance(faults.silence * 0.2)) {
    deaf_ = true;
    return true;
  }
  if (world.Chance(faults.garbage * 0.3)) {
    garbled_ = true;
    Answer(Draw(world, {"what", "25 0", "250-a\r\n550 b", "2500 ok", "199 early", "250ok"}), state_,
           /*closes=*/world.Chance(0.5));
    return true;
  }
  if (world.Chance(faults.command_421 * 0.3)) {
    Answer("421 4.3.2 closing", state_, /*closes=*/true);
    return true;
  }
  return false;
}

// An answer that refuses; empty: none.
std::string PeerSession::RefusalAt(Stage stage) {
  if (!scene_.faults_on) return "";
  World& world = scene_.world;
  const Faults& faults = scene_.options.faults;
  if (world.Chance(faults.command_later * 0.5)) {
    return Draw(world, {"451 4.7.1 later", "450 4.2.1 later", "452 4.2.2 full", "454 later"});
  }
  if (sender_.empty()) return "";  // Bounces are not refused for good: they are what we count.
  if (world.Chance(faults.command_never * 0.5)) {
    return Draw(world, {"550 5.7.1 never", "554 never", "553 5.1.3 never"});
  }
  return "";
}

// -------------------------------------------------------------------------------------------------
// Reading.

void PeerSession::OnArrival(Connection&) {
  if (deaf_ && state_ != State::kBody) {
    if (connection_.reset(1) || connection_.finished(1)) Close(/*reset=*/false);
    return;
  }
  if (deaf_) return;
  const absl::string_view unread = connection_.Unread(1);
  if (tls_ == nullptr) {
    input_.append(unread.data(), unread.size());
  } else {
    tls_->Feed(unread);
  }
  connection_.Take(1, unread.size());
  if (secure_) Decipher();
  if (state_ == State::kGreeting) Judge(input_.empty(), "talks before the greeting");
  Process();
  if (state_ == State::kGone) return;
  if (connection_.reset(1)) return Close(/*reset=*/true);
  if (connection_.finished(1) && !answering_) Close(/*reset=*/false);
}

void PeerSession::Process() {
  while (!answering_ && !deaf_ && state_ != State::kGone && !scene_.world.violated()) {
    if (state_ == State::kSecuring) {
      if (!TakeHandshake()) break;
    } else if (state_ == State::kChunk) {
      if (!TakeChunk()) break;
    } else if (!(state_ == State::kBody ? TakeBody() : TakeCommand())) {
      break;
    }
  }
  if (state_ != State::kGone && !answering_ && connection_.finished(1)) Close(/*reset=*/false);
}

bool PeerSession::TakeCommand() {
  const size_t end = input_.find("\r\n");
  if (end == std::string::npos) {
    Judge(input_.size() < 2000, "a command line without end");
    return false;
  }
  const std::string line = input_.substr(0, end);
  const uint64_t at = input_at_;
  input_.erase(0, end + 2);
  input_at_ += end + 2;
  scene_.world.Happens("peer hears", connection_.number(), call_, line);
  Judge(line.find_first_of("\r\n") == std::string::npos, "a bare CR or LF in a command");
  // RSET and QUIT are never sent ahead of anything.
  const std::string verb = absl::AsciiStrToUpper(line.substr(0, 4));
  const bool of_group = verb == "MAIL" || verb == "RCPT" || verb == "DATA" || verb == "BDAT";
  const bool may_pipeline = offered_ && manners_.pipelining && of_group;
  const uint64_t must_have_read = may_pipeline ? barrier_ : last_reply_;
  Judge(connection_.ReadWhenWriting(0, StreamOf(at)) >= must_have_read,
        absl::StrCat("did not wait for the answer before \"", line, "\""));
  if (absl::StartsWithIgnoreCase(line, "MAIL ")) {
    mail_written_ = connection_.WrittenAt(0, StreamOf(at));
    mail_ahead_ = !heard_ || connection_.ReadWhenWriting(0, StreamOf(at)) < last_reply_;
  }
  Obey(line);
  return true;
}

bool PeerSession::TakeBody() {
  Judge(!mixed_up_ || input_.empty(), "sends a body, or a lone dot, behind a MAIL refused ahead");
  if (body_scanned_ == 0 && !input_.empty()) {
    Judge(connection_.ReadWhenWriting(0, StreamOf(input_at_)) >= barrier_,
          "sends the body before the 354");
    scene_.policy.OnMail(call_, "a body", shown(), mail_written_);
  }
  if (input_.size() >= body_refused_after_) {
    body_refused_after_ = UINT64_MAX;
    const bool forever = scene_.world.Chance(0.5) && !sender_.empty();
    if (forever) scene_.ledger.RefusedForGood(sender_, domain_);
    Answer(forever ? "554 5.6.0 enough" : "451 4.3.0 enough", state_, /*closes=*/true);
    return false;
  }
  size_t end = absl::StartsWith(input_, ".\r\n") ? 0 : std::string::npos;
  if (end == std::string::npos) {
    end = input_.find("\r\n.\r\n", body_scanned_ < 4 ? 0 : body_scanned_ - 4);
    body_scanned_ = input_.size();
    if (end == std::string::npos) return false;
    end += 2;
  }
  const std::string wire = input_.substr(0, end);
  input_.erase(0, end + 3);
  input_at_ += end + 3;
  EndBody(wire);
  return true;
}

// -------------------------------------------------------------------------------------------------
// Commands.

void PeerSession::Obey(absl::string_view line) {
  const std::string verb = absl::AsciiStrToUpper(line.substr(0, 4));
  const bool ready = state_ == State::kReady;
  if (verb == "EHLO" || verb == "HELO") return ObeyHello(line);
  if (verb == "MAIL") {
    Judge(ready, "MAIL out of turn");
    Judge(!reset_owed_ || mail_ahead_, "MAIL without RSET after a transaction that failed (K21)");
    return ObeyMail(line);
  }
  if (verb == "RCPT") return ObeyRecipient(line);
  if (verb == "DATA") return ObeyData();
  if (verb == "BDAT") return ObeyBdat(line);
  if (verb == "RSET") {
    Judge(transactions_ > 0, "RSET before the first MAIL (K22)");
    barrier_next_ = true;
    if (MisbehavesAt(Stage::kOther)) return;
    if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.rset_refusal)) {
      return Answer("502 5.5.1 what is RSET", state_);
    }
    reset_owed_ = mixed_up_ = false;
    return Answer("250 2.0.0 reset", State::kReady);
  }
  if (absl::EqualsIgnoreCase(line, "STARTTLS")) return ObeyStartTls();
  if (verb == "QUIT") {
    Judge(input_.empty(), "talks on after QUIT");
    if (scene_.faults_on && scene_.world.Chance(0.1)) return Close(scene_.world.Chance(0.5));
    return Answer("221 2.0.0 bye", state_, /*closes=*/true);
  }
  Judge(false, absl::StrCat("says \"", line, "\""));
}

void PeerSession::ObeyHello(absl::string_view line) {
  const bool extended = absl::StartsWithIgnoreCase(line, "EHLO ");
  Judge(state_ == State::kStart, "EHLO or HELO out of turn");
  barrier_next_ = true;
  if (MisbehavesAt(Stage::kHello)) return;
  const double rate = scene_.faults_on ? scene_.options.faults.ehlo : 0;
  if (scene_.world.Chance(rate * 0.5)) return Answer("451 4.3.0 later", State::kStart);
  if (extended && (manners_.helo_only || scene_.world.Chance(rate))) {
    return Answer("502 5.5.1 what is EHLO", State::kStart);
  }
  std::string text = "250 mx.test";
  if (extended) {
    offered_ = true;
    text = "250-mx.test greets\r\n";
    if (manners_.pipelining) text += "250-PIPELINING\r\n";
    if (manners_.chunking) text += "250-CHUNKING\r\n";
    if (manners_.size) absl::StrAppend(&text, "250-SIZE ", kPeerSizeMax, "\r\n");
    if (manners_.eight_bit) text += "250-8BITMIME\r\n";
    if (manners_.notifications) text += "250-DSN\r\n";
    tls_offered_ = manners_.start_tls && !secure_;
    if (tls_offered_) text += "250-STARTTLS\r\n";
    text += "250 HELP";
  }
  scene_.limits.OnOpened(call_);
  Answer(text, State::kReady);
  if (!scene_.faults_on || !scene_.world.Chance(scene_.options.faults.idle_421 * 0.3)) return;
  scene_.world.After(scene_.world.Delay(seconds(0), seconds(10)), [this] {
    if (state_ != State::kReady || answering_) return;
    // It may meet STARTTLS on its way, and be taken for the answer.
    if (tls_offered_ && transactions_ == 0) unanswered_.insert(scene_.world.instant());
    Write("421 4.4.2 idle\r\n");
    Close(/*reset=*/false);
  });
}

// -------------------------------------------------------------------------------------------------
// TLS.

void PeerSession::ObeyStartTls() {
  World& world = scene_.world;
  scene_.policy.OnStartTls(call_);
  asked_ = world.instant();
  unanswered_.insert(asked_);
  Judge(state_ == State::kReady && transactions_ == 0 && !secure_, "STARTTLS out of turn");
  Judge(offered_ && manners_.start_tls, "STARTTLS was not offered");
  Judge(input_.empty(), "goes on behind STARTTLS");
  barrier_next_ = true;
  if (scene_.faults_on && world.Chance(scene_.options.faults.start_tls)) {
    switch (world.Between(0, 5)) {
      case 0:
        return Answer(Draw(world, {"454 4.7.0 not now", "502 5.5.1 what", "501 no"}), state_);
      case 1:
        garbled_ = true;
        return Answer(Draw(world, {"what", "250 ok", "22 0", "354 go"}), state_);
      case 2:
        deaf_ = true;
        return;
      case 3:
        return Close(world.Chance(0.5));
      case 4:
        return Answer("421 4.3.2 closing", state_, /*closes=*/true);
      default:  // CVE-2021-38371 and its kin.
        return Answer("220 go ahead\r\n250 injected", State::kSecuring);
    }
  }
  Answer("220 2.0.0 go ahead", State::kSecuring);
}

uint64_t PeerSession::StreamOf(uint64_t at) const {
  return secure_ ? tls_at_ + tls_->CiphertextOf(at) : at;
}

void PeerSession::Write(absl::string_view text) {
  if (!secure_) return connection_.Write(1, text);
  CHECK(tls_->Seal(text));
  std::string sealed;
  tls_->TakeOutput(sealed);
  connection_.Write(1, sealed);
}

// What comes behind the 220 is the handshake's. True: it is over, and there may be more.
bool PeerSession::TakeHandshake() {
  if (tls_ == nullptr) {
    tls_ = ToyStream::Server(scene_.world.random().Next(), manners_.certificate,
                             /*asks_again=*/scene_.world.Chance(0.2));
    tls_at_ = input_at_;
    tls_->Feed(std::exchange(input_, {}));
    input_at_ = 0;
  }
  TakeFlight();
  return secure_ && state_ == State::kStart;
}

void PeerSession::TakeFlight() {
  if (!tls_->fed()) return;
  if (!std::exchange(flight_came_, true)) {
    unanswered_.erase(unanswered_.find(asked_));
    if (BreaksHandshake()) return;
  }
  const tls::Step step = tls_->Handshake();
  if (tls_->heard_no_record()) scene_.policy.OnClearAfterStartTls(call_);
  if (step == tls::Step::kFailed) return Close(/*reset=*/false);
  SendFlight(scene_.world.Delay(microseconds(10), manners_.answer_max));
  if (step != tls::Step::kEstablished) return;
  scene_.world.Happens("peer is secure", connection_.number(), call_);
  secure_ = true;
  state_ = State::kStart;
  offered_ = false;
  last_reply_ = barrier_ = connection_.bytes_written(1);
  // Who refuses our certificate under TLS 1.3 says so behind the handshake.
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.handshake * 0.1)) {
    tls_->SendAlert('h');
    SendFlight(Duration(0));
    deaf_ = true;
    return;
  }
  Decipher();
}

void PeerSession::SendFlight(Duration delay) {
  std::string flight;
  tls_->TakeOutput(flight);
  if (flight.empty()) return;
  scene_.world.After(delay, [this, flight = std::move(flight)] {
    if (state_ != State::kGone) connection_.Write(1, flight);
  });
}

bool PeerSession::BreaksHandshake() {
  World& world = scene_.world;
  if (!scene_.faults_on || !world.Chance(scene_.options.faults.handshake)) return false;
  switch (world.Between(0, 6)) {
    case 0:
    case 1:
    case 2:
      tls_->SendAlert(Draw(world, {"h", "p", "c"})[0]);
      SendFlight(Duration(0));
      deaf_ = true;
      return true;
    case 3:
      connection_.Write(1, "454 4.7.0 TLS is not available\r\n");
      deaf_ = true;
      return true;
    case 4:
      Close(world.Chance(0.5));
      return true;
    case 5:
      deaf_ = true;
      return true;
    default:  // Slowly.
      tls_->Handshake();
      SendFlight(world.Delay(milliseconds(10), seconds(60)));
      return false;
  }
}

void PeerSession::Decipher() {
  const size_t before = input_.size();
  const tls::Stream::Opened opened = tls_->Open(input_);
  if (tls_->heard_no_record()) scene_.policy.OnClearAfterStartTls(call_);
  if (input_.size() > before) scene_.policy.OnSealed(call_, manners_.certificate);
  Judge(opened != tls::Stream::Opened::kFailed, "seals what cannot be opened");
}

// -------------------------------------------------------------------------------------------------
// Transactions.

// A parameter is there with this value, or, when it is empty, is not there.
void PeerSession::JudgeParameter(absl::string_view parameters, absl::string_view name,
                                 absl::string_view value) {
  const size_t at = parameters.find(name);
  absl::string_view found;
  if (at != absl::string_view::npos) found = parameters.substr(at + name.size());
  found = found.substr(0, found.find(' '));
  Judge(found == value, absl::StrCat("says", name, found, " and should say \"", value, "\""));
}

void PeerSession::ObeyMail(absl::string_view line) {
  ++transactions_;
  scene_.limits.OnMail(call_, mail_written_);
  scene_.policy.OnMail(call_, "MAIL", shown(), mail_written_);
  if (tls_offered_ && asked_ == Instant{}) {
    scene_.policy.OnNotAsked(call_, unanswered_.empty() ? Instant{} : *unanswered_.rbegin());
  }
  Judge(absl::ConsumePrefix(&line, "MAIL FROM:<"), "MAIL is not MAIL FROM:<");
  sender_ = std::string(line.substr(0, line.find('>')));
  line.remove_prefix(std::min(line.size(), sender_.size() + 1));
  accepted_.clear();
  seen_.clear();
  declared_bytes_ = UINT64_MAX;
  eight_bit_declared_ = absl::StrContains(line, " BODY=8BITMIME");
  Judge(!eight_bit_declared_ || (offered_ && manners_.eight_bit), "BODY= was not offered");
  const size_t size_at = line.find(" SIZE=");
  if (size_at != absl::string_view::npos) {
    Judge(offered_ && manners_.size, "SIZE= was not offered");
    absl::string_view number = line.substr(size_at + 6);
    Judge(absl::SimpleAtoi(number.substr(0, number.find(' ')), &declared_bytes_), "a bad SIZE=");
    Judge(declared_bytes_ <= kPeerSizeMax, "a message over our SIZE");
  }
  if (const MessageFacts* message = scene_.ledger.FindBySender(sender_)) {
    const bool passed = offered_ && manners_.notifications;
    JudgeParameter(line, " RET=", passed ? message->ret : "");
    JudgeParameter(line, " ENVID=", passed ? message->envelope_id : "");
  }
  reset_owed_ = true;  // Unless it ends well.
  Judge(!mail_ahead_ || !refused_ahead_, "MAIL ahead again, though it was refused so");
  if (mail_ahead_ && manners_.ahead != Manners::Ahead::kTaken) return ObeyMailAhead();
  if (MisbehavesAt(Stage::kMail)) return;
  const std::string refusal = RefusalAt(Stage::kMail);
  if (refusal.empty()) return Answer("250 2.1.0 sender ok", State::kMail);
  if (refusal.front() == '5') scene_.ledger.RefusedForGood(sender_, domain_);
  Answer(refusal, State::kReady);
}

void PeerSession::ObeyMailAhead() {
  switch (manners_.ahead) {
    case Manners::Ahead::kTaken:
      return;
    case Manners::Ahead::kRefused:
      refused_ahead_ = true;
      return Answer("503 5.5.1 sender already specified", State::kReady);
    case Manners::Ahead::kUnread:
      deaf_ = true;
      return;
    case Manners::Ahead::kLeft:
      return Close(scene_.world.Chance(0.5));
    case Manners::Ahead::kMixedUp:
      mixed_up_ = true;
      return Answer("503 5.5.1 sender already specified", State::kMail);
  }
}

void PeerSession::ObeyRecipient(absl::string_view line) {
  const bool in_turn = state_ == State::kMail || state_ == State::kRecipients;
  Judge(absl::ConsumePrefix(&line, "RCPT TO:<"), "RCPT is not RCPT TO:<");
  const std::string given(line.substr(0, line.find('>')));
  const size_t at = given.find('@');
  Judge(at != std::string::npos, "a recipient without domain");
  if (at == std::string::npos) return;
  const std::string address = given.substr(0, at) + absl::AsciiStrToLower(given.substr(at));
  Judge(address.substr(at + 1) == domain_, absl::StrCat(address, " is not ours"));
  Judge(seen_.insert(address).second, absl::StrCat(address, " twice in one transaction"));
  Judge(seen_.size() <= 100, "more than 100 recipients in one transaction");
  scene_.limits.OnRecipient(call_, mail_written_);
  scene_.policy.OnMail(call_, "RCPT", shown(), mail_written_);
  if (!in_turn) {
    // Only as the rest of a group whose MAIL was refused.
    Judge(offered_ && manners_.pipelining && state_ == State::kReady && reset_owed_,
          "RCPT out of turn");
    return Answer("503 5.5.1 MAIL first", state_);
  }
  const bool report = scene_.ledger.FindBySender(address) != nullptr;
  RecipientFacts* recipient = scene_.ledger.FindRecipient(address);
  Judge(report ? sender_.empty() : recipient != nullptr, absl::StrCat(address, " is nobody"));
  if (recipient != nullptr) {
    const bool passed = offered_ && manners_.notifications;
    JudgeParameter(line, " NOTIFY=", passed ? recipient->notify : "");
    JudgeAgain(*recipient);
  }
  if (MisbehavesAt(Stage::kRecipient)) return;
  if (recipient != nullptr && recipient->unknown) {
    refused_ = recipient;
    return Answer("550 5.1.1 no such user", state_);
  }
  if (recipient != nullptr && scene_.faults_on) {
    const std::string greylisted = Greylisted(*recipient);
    if (!greylisted.empty()) return Answer(greylisted, state_);
  }
  if (accepted_.size() >= manners_.recipients_max) {
    return Answer(Draw(scene_.world, {"452 4.5.3 too many", "452 too many", "552 too many"}),
                  state_);
  }
  const std::string refusal = RefusalAt(Stage::kRecipient);
  if (refusal.empty()) {
    accepted_.push_back(address);
    return Answer("250 2.1.5 recipient ok", State::kRecipients);
  }
  if (refusal.front() == '5' && recipient != nullptr) recipient->may_bounce = true;
  Answer(refusal, state_);
}

// Case H11: who was refused for good, in a transaction that delivered to others, is not tried
// again. Where there is no room for the bounce, it is, and so are outcomes that a crash has lost.
void PeerSession::JudgeAgain(const RecipientFacts& recipient) {
  const Delivery& refusal = recipient.refusal;
  const Ledger& ledger = scene_.ledger;
  if (!ledger.Confirmed(refusal) || refusal.life <= ledger.unclean_life) return;
  if (mail_written_ < refusal.when + seconds(2)) return;  // It was on its way by then.
  const Faults& faults = scene_.options.faults;
  if (scene_.options.small_slabs || scene_.options.few_residents || ledger.disk_failed) return;
  if (faults.disk_full > 0 || faults.name_errors > 0) return;  // No segment could be begun.
  for (const RecipientFacts& other : ledger.MessageOf(recipient.address).recipients) {
    for (const uint32_t number : other.deliveries) {
      const Delivery& delivery = ledger.deliveries[number];
      const bool same =
          delivery.connection == refusal.connection && delivery.transaction == refusal.transaction;
      Judge(!same || !ledger.Confirmed(delivery),
            absl::StrCat(recipient.address, " again, though it was refused for good (H11)"));
    }
  }
}

// Some recipients are told to come again, until they do so late enough.
std::string PeerSession::Greylisted(RecipientFacts& recipient) {
  World& world = scene_.world;
  const Instant now = world.instant();
  const bool known = recipient.greylisted_until != Instant{};
  if (!known && !world.Chance(scene_.options.faults.greylist * 3)) return "";
  if (!known) recipient.greylisted_until = now + world.Delay(seconds(30), minutes(10));
  return now < recipient.greylisted_until ? "451 4.7.1 greylisted, come again" : "";
}

void PeerSession::ObeyData() {
  scene_.policy.OnMail(call_, "DATA", shown(), mail_written_);
  barrier_next_ = true;
  const bool in_turn = state_ == State::kRecipients || state_ == State::kMail;
  if (!in_turn) {
    Judge(offered_ && manners_.pipelining && state_ == State::kReady && reset_owed_,
          "DATA out of turn");
    return Answer("503 5.5.1 MAIL first", state_);
  }
  if (accepted_.empty()) {
    Judge(offered_ && manners_.pipelining, "DATA without a recipient");
    // Some servers say 354 all the same (C41).
    if (scene_.world.Chance(0.3)) return Answer("354 go ahead", State::kBody);
    return Answer("554 5.5.1 no valid recipients", state_);
  }
  if (MisbehavesAt(Stage::kData)) return;
  const std::string refusal = RefusalAt(Stage::kData);
  if (!refusal.empty()) {
    if (refusal.front() == '5') scene_.ledger.RefusedForGood(sender_, domain_);
    return Answer(refusal, State::kReady);
  }
  body_scanned_ = 0;
  body_refused_after_ = UINT64_MAX;
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.body_refusal * 0.5)) {
    body_refused_after_ = scene_.world.Between(0, 3000);
  }
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.stall * 0.3)) deaf_ = true;
  Answer("354 go ahead", State::kBody);
}

// Its octets come behind it, whatever is said of it.
void PeerSession::ObeyBdat(absl::string_view line) {
  Judge(offered_ && manners_.chunking, "BDAT was not offered");
  Judge(!refused_chunk_, "BDAT again, though it was refused as unknown");
  Judge(absl::ConsumePrefix(&line, "BDAT ") && absl::ConsumeSuffix(&line, " LAST") &&
            absl::SimpleAtoi(line, &chunk_bytes_),
        "BDAT is not BDAT n LAST");
  scene_.policy.OnMail(call_, "BDAT", shown(), mail_written_);
  chunk_in_turn_ = state_ == State::kRecipients || state_ == State::kMail;
  Judge(chunk_in_turn_ || (manners_.pipelining && state_ == State::kReady && reset_owed_),
        "BDAT out of turn");
  state_ = State::kChunk;
}

bool PeerSession::TakeChunk() {
  if (input_.size() < chunk_bytes_) return false;
  const std::string message = input_.substr(0, chunk_bytes_);
  input_.erase(0, chunk_bytes_);
  input_at_ += chunk_bytes_;
  barrier_next_ = true;
  if (!chunk_in_turn_) {
    Answer("503 5.5.1 MAIL first", State::kReady);
  } else if (accepted_.empty()) {
    Answer("554 5.5.1 no valid recipients", State::kReady);
  } else if (manners_.chunks == Manners::Chunks::kUnknown) {
    refused_chunk_ = true;
    Answer("502 5.5.1 what is BDAT", State::kReady);
  } else if (manners_.chunks == Manners::Chunks::kLeft) {
    Close(scene_.world.Chance(0.5));
  } else if (manners_.chunks == Manners::Chunks::kUnread) {
    deaf_ = true;
  } else {
    EndMessage(message);
  }
  return true;
}

// -------------------------------------------------------------------------------------------------
// The message.

// A group of commands may begin with it (RFC 2920 3.1).
void PeerSession::EndBody(absl::string_view wire) {
  body_scanned_ = 0;
  if (accepted_.empty()) {
    Judge(wire.empty(), "a body for nobody (C41)");
    return Answer("554 5.5.1 for nobody", State::kReady);
  }
  std::string message;
  Judge(Unstuff(wire, message), "a body that is not stuffed right");
  EndMessage(message);
}

void PeerSession::EndMessage(absl::string_view message) {
  World& world = scene_.world;
  const Faults& faults = scene_.options.faults;
  if (scene_.faults_on && world.Chance(faults.dot_lost * 0.5)) {
    if (world.Chance(0.5)) TookIt(message);
    deliveries_.clear();  // Nobody will say so.
    if (world.Chance(0.3)) {
      deaf_ = true;
      return;
    }
    return Close(world.Chance(0.5));
  }
  if (MisbehavesAt(Stage::kDot)) return;
  const std::string refusal = RefusalAt(Stage::kDot);
  if (!refusal.empty()) {
    if (refusal.front() == '5') scene_.ledger.RefusedForGood(sender_, domain_);
    const bool leaves = scene_.options.ahead_refused > 0 && world.Chance(0.2);
    return Answer(refusal, State::kReady, leaves);
  }
  TookIt(message);
  reset_owed_ = false;
  Answer("250 2.0.0 taken", State::kReady);
}

void PeerSession::TookIt(absl::string_view message) {
  Judge(declared_bytes_ == UINT64_MAX || declared_bytes_ == message.size(),
        absl::StrCat("SIZE=", declared_bytes_, " for a message of ", message.size()));
  scene_.world.Happens("peer takes", connection_.number(), message.size(), accepted_.front());
  deliveries_ = scene_.ledger.Took(connection_, sender_, accepted_, message, garbled_);
  for (const uint32_t number : deliveries_) {
    scene_.ledger.deliveries[number].transaction = transactions_;
    scene_.ledger.deliveries[number].shown = shown();
  }
}

}  // namespace sluice::sim
