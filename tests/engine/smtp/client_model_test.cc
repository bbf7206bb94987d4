// ClientSession against a server that answers by chance: mostly as it should, else with any reply,
// with too many, with rubbish, in pieces, or not at all. The model keeps the commands that came and
// the replies that went, and pairs them by number; from that alone it judges every action:
//   - the order of commands is legal, nothing is pipelined that was not offered in the last EHLO,
//     and no body is sent before the 354 to a DATA with a recipient,
//   - STARTTLS is said once at most, where it is wanted and offered; the handshake begins only on a
//     220 with nothing behind it; and where TLS is wanted no mail goes before it is up, unless the
//     owner was told why not and said so,
//   - RSET is answered between a transaction that failed and the next MAIL, and never comes first,
//   - each offer has exactly one outcome and each recipient at most one verdict, by its own reply,
//   - `accepted` is said only if the reply to the dot is 2xx and so is each recipient's,
//   - `lost` only while the body's last piece has not been handed over, unless `in doubt`,
//   - a reply that nothing asked for ends the session, and nothing follows the close.

#include <chrono>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/random.h"
#include "engine/smtp/client_session.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

class ChanceServer {
 public:
  explicit ChanceServer(uint64_t seed) : random_(seed) {
    reliability_ = random_.Chance(0.5) ? 0.99 : 0.8;
    wants_tls_ = random_.Chance(0.5);
    session_.Begin({.ehlo_name = "client.example",
                    .may_pipeline = random_.Chance(0.9),
                    .start_tls = wants_tls_},
                   now());
    Drain();
  }

  // Until the session's end. What was seen of outcomes is added to the counts.
  void Run() {
    for (int step = 0; step < 300 && !closed_; ++step) Act();
    if (!closed_) {
      session_.OnClosed(now());
      Drain();
    }
    EXPECT_TRUE(closed_);
    EXPECT_FALSE(offered_);  // Its outcome was given.
    EXPECT_EQ(session_.deadline(), kNever);
    session_.OnBytes("250 ok\r\n", now());
    EXPECT_EQ(session_.Next(), ClientAction::kNone);
  }

  int accepted = 0;
  int refused = 0;
  int lost = 0;
  int in_doubt = 0;
  int encrypted = 0;
  int in_clear = 0;     // By the owner's decision.
  int answers[8] = {};  // At the end, one a TlsAnswer.

 private:
  Now now() const { return {Instant(std::chrono::hours(1) + clock_), WallTime()}; }

  // --- Events, by chance.

  void Act() {
    clock_ += std::chrono::seconds(random_.Below(3));
    if (offered_ && handed_over_ && random_.Chance(0.02)) return Fail();
    const bool at_tls = handshake_ || commands_.back() == "STARTTLS";
    if (at_tls && random_.Chance(0.1)) return Fail();
    if (random_.Chance((1 - reliability_) / 10)) return Fail();
    if (sending_body_ && !random_.Chance(1 - reliability_)) return SendBody();
    if (ready_ && !random_.Chance((1 - reliability_) / 4)) return UseSession();
    if (deciding_ && !random_.Chance(1 - reliability_)) return Decide();
    if (handshake_ && !random_.Chance(1 - reliability_)) return EndHandshake();
    // Out of turn, if no reply is owed.
    size_t owed = commands_.size() - replies_.size();
    if (commands_.size() < replies_.size()) owed = 0;
    if (owed == 0 && random_.Chance(0.5)) return;
    Answer(owed == 0 ? 1 : 1 + random_.Below(owed + (random_.Chance(0.02) ? 1 : 0)));
  }

  void Fail() {
    switch (random_.Below(4)) {
      case 0:
        lost_by_ = TlsAnswer::kClosed;
        session_.OnClosed(now());
        break;
      case 1:
        if (session_.deadline() != kNever) {
          lost_by_ = TlsAnswer::kSilence;
          clock_ += session_.deadline() - now().instant;
          session_.OnDeadline(now());
          dead_ = true;
        }
        break;
      case 2:
        lost_by_ = TlsAnswer::kNone;
        session_.Abort();
        break;
      case 3:
        lost_by_ = TlsAnswer::kGarbage;
        injected_ = handshake_;
        session_.OnBytes(Rubbish(), now());
        dead_ = true;
        break;
    }
    Drain();
    if (dead_) {
      EXPECT_TRUE(closed_);
    }
  }

  void SendBody() {
    if (random_.Chance(0.3)) {
      session_.OnBodyProgress(now());
    } else {
      session_.OnBodyEnding(now());
      sending_body_ = false;
      handed_over_ = true;
      commands_.push_back("body");
    }
    Drain();
  }

  void Decide() {
    deciding_ = false;
    if (random_.Chance(0.7)) {
      continued_ = true;
      ++in_clear;
      session_.ContinueInClear(now());
    } else {
      session_.RefuseTls(now());
    }
    Drain();
  }

  void EndHandshake() {
    handshake_ = false;
    established_ = true;
    pipelining_ = offers_tls_ = false;
    ++encrypted;
    session_.OnTlsEstablished(now());
    Drain();
    EXPECT_EQ(commands_.back(), "EHLO client.example");
  }

  void UseSession() {
    ready_ = false;
    if (random_.Chance(0.1)) {
      session_.Quit(now());
      return Drain();
    }
    recipients_.assign(1 + random_.Below(5), {});
    lent_.clear();
    for (size_t i = 0; i < recipients_.size(); ++i) {
      recipients_[i].address = absl::StrCat(i, "@y");
      lent_.push_back(&recipients_[i]);
    }
    verdicts_.assign(recipients_.size(), ' ');
    rcpt_commands_.assign(recipients_.size(), std::nullopt);
    offered_ = true;
    handed_over_ = false;
    body_asked_ = false;
    session_.Offer(
        {.sender = "a@x",
         .recipients = lent_,
         .body_bytes = random_.Below(2000),
         .body_type = random_.Chance(0.2) ? BodyType::kEightBitMime : BodyType::kSevenBit},
        now());
    Drain();
  }

  // --- Replies, by chance.

  absl::string_view Rubbish() {
    static constexpr absl::string_view kRubbish[] = {
        "\r\n", "hello\r\n", "99\r\n", "150 x\r\n", "250-a\r\n251 b\r\n", "250\tx\r\n"};
    return kRubbish[random_.Below(std::size(kRubbish))];
  }

  int CodeFor(absl::string_view command) {
    static constexpr int kAny[] = {220, 221, 250, 251, 354, 421, 450,
                                   451, 452, 500, 503, 550, 552, 554};
    if (random_.Chance(1 - reliability_)) return kAny[random_.Below(std::size(kAny))];
    if (command == "greeting") return 220;
    if (command == "STARTTLS") return random_.Chance(0.8) ? 220 : 454;
    if (absl::StartsWith(command, "RCPT")) {
      static constexpr int kRcpt[] = {250, 250, 250, 251, 450, 452, 550, 552};
      return kRcpt[random_.Below(std::size(kRcpt))];
    }
    if (absl::StartsWith(command, "MAIL") && random_.Chance(0.1)) return 451;
    if (absl::StartsWith(command, "EHLO") && random_.Chance(0.1)) return 502;
    if (command == "DATA") return random_.Chance(0.9) ? 354 : 503;
    if (command == "body" && random_.Chance(0.2)) return 554;
    return 250;
  }

  std::string TextFor(absl::string_view command, int code) {
    std::string text;
    if (absl::StartsWith(command, "EHLO") && code < 300) {
      text = absl::StrCat(code, "-mx\r\n");
      pipelining_ = random_.Chance(0.6);
      if (pipelining_) absl::StrAppend(&text, code, "-PIPELINING\r\n");
      offers_tls_ = random_.Chance(0.7);
      if (offers_tls_) absl::StrAppend(&text, code, "-StartTLS \r\n");
      if (random_.Chance(0.5)) absl::StrAppend(&text, code, "-8BITMIME\r\n");
      if (random_.Chance(0.5)) absl::StrAppend(&text, code, "-SIZE 1500\r\n");
      if (random_.Chance(0.2)) absl::StrAppend(&text, code, "-LIMITS RCPTMAX=3 MAILMAX=4\r\n");
    } else if (random_.Chance(0.1)) {
      text = absl::StrCat(code, "-more\r\n");
    }
    return absl::StrCat(text, code, random_.Chance(0.5) ? " text\r\n" : "\n");
  }

  // `count` replies, in pieces.
  void Answer(size_t count) {
    std::string bytes;
    std::vector<std::pair<size_t, int>> ends;  // Where each reply is whole, and its code.
    for (size_t i = 0; i < count; ++i) {
      const size_t index = replies_.size() + i;
      const std::string command = index < commands_.size() ? commands_[index] : "none";
      const int code = CodeFor(command);
      bytes += TextFor(command, code);
      ends.push_back({bytes.size(), code});
    }
    size_t given = 0;
    size_t whole = 0;
    while (given < bytes.size() && !closed_) {
      const size_t piece =
          random_.Chance(0.5) ? bytes.size() - given : 1 + random_.Below(bytes.size() - given);
      given += piece;
      for (; whole < ends.size() && ends[whole].first <= given; ++whole) {
        replies_.push_back(ends[whole].second);
      }
      const bool unasked = replies_.size() > commands_.size();
      behind_ = given > (whole == 0 ? 0 : ends[whole - 1].first);
      injected_ = handshake_;
      session_.OnBytes(absl::string_view(bytes).substr(given - piece, piece), now());
      Drain();
      EXPECT_TRUE(closed_ || !unasked);
    }
  }

  // --- Judging.

  int ReplyTo(size_t command) const { return command < replies_.size() ? replies_[command] : 0; }
  static bool Positive(int code) { return code >= 200 && code < 300; }

  void Drain() {
    for (ClientAction action = session_.Next(); action != ClientAction::kNone;
         action = session_.Next()) {
      ASSERT_FALSE(closed_);
      Judge(action);
    }
    EXPECT_EQ(session_.output(), "");
  }

  void Judge(ClientAction action) {
    switch (action) {
      case ClientAction::kNone:
        return;
      case ClientAction::kSend:
        return JudgeOutput();
      case ClientAction::kSendBody:
        return JudgeBody();
      case ClientAction::kReady:
        EXPECT_FALSE(offered_);
        EXPECT_EQ(replies_.size(), commands_.size());
        ready_ = true;
        return;
      case ClientAction::kRecipientDone:
        return JudgeRecipient('r');
      case ClientAction::kRecipientMoved:
        return JudgeRecipient('m');
      case ClientAction::kMessageDone:
        return JudgeMessage();
      case ClientAction::kTlsAnswer:
        return JudgeTlsAnswer();
      case ClientAction::kStartTls:
        EXPECT_EQ(commands_.back(), "STARTTLS");
        EXPECT_EQ(ReplyTo(commands_.size() - 1), 220);
        EXPECT_EQ(replies_.size(), commands_.size());
        EXPECT_FALSE(behind_);
        handshake_ = had_handshake_ = true;
        return;
      case ClientAction::kClose:
        EXPECT_FALSE(offered_);
        EXPECT_EQ(session_.output(), "");
        JudgeTlsAtTheEnd();
        closed_ = true;
        sending_body_ = ready_ = deciding_ = handshake_ = false;
        return;
    }
  }

  void JudgeOutput() {
    absl::string_view output = session_.output();
    EXPECT_TRUE(absl::EndsWith(output, "\r\n"));
    while (!output.empty()) {
      const size_t end = output.find("\r\n");
      JudgeCommand(output.substr(0, end));
      output.remove_prefix(end + 2);
    }
    session_.ClearOutput();
  }

  void JudgeCommand(absl::string_view command) {
    EXPECT_FALSE(ready_ || deciding_ || handshake_) << "on its own: " << command;
    const absl::string_view verb = command.substr(0, 4);
    const std::string last = commands_.back().substr(0, 4);
    const bool answered = replies_.size() >= commands_.size();
    if (!answered) {  // Only within a group, only as offered.
      EXPECT_TRUE(pipelining_);
      EXPECT_TRUE(verb == "RCPT" || verb == "DATA") << command;
    }
    if (verb == "EHLO") {
      EXPECT_EQ(last, established_ ? "STAR" : "gree");
    }
    if (verb == "STAR") {
      EXPECT_EQ(command, "STARTTLS");
      EXPECT_EQ(last, "EHLO");
      EXPECT_TRUE(wants_tls_ && offers_tls_ && !established_);
    }
    if (verb == "HELO") {
      EXPECT_EQ(last, "EHLO");
    }
    if (verb == "RCPT") {
      EXPECT_TRUE(last == "MAIL" || last == "RCPT") << last;
    }
    if (verb == "DATA") {
      EXPECT_EQ(last, "RCPT");
    }
    if (verb == ".") {  // Alone: nobody is to receive it.
      EXPECT_EQ(last, "DATA");
      EXPECT_FALSE(offered_);
      EXPECT_EQ(ReplyTo(commands_.size() - 1), 354);
    }
    if (verb == "MAIL") {
      const bool tls_refused = last == "STAR" && told_ == TlsAnswer::kRefused;
      EXPECT_TRUE(last == "EHLO" || last == "HELO" || last == "RSET" || last == "body" ||
                  tls_refused)
          << last;
      EXPECT_TRUE(Positive(ReplyTo(commands_.size() - 1)) || tls_refused);
      EXPECT_TRUE(offered_);
      EXPECT_TRUE(established_ || continued_ || !wants_tls_);
      EXPECT_EQ(session_.tls(), established_);
    }
    if (verb == "RSET") {
      EXPECT_TRUE(last != "EHLO" && last != "HELO" && last != "STAR" && last != "RSET") << last;
    }
    if (verb == "RCPT") NoteRecipient(command);
    commands_.push_back(std::string(command));
  }

  // The owner is told that there is no TLS.
  void JudgeTlsAnswer() {
    EXPECT_TRUE(wants_tls_ && !established_ && !told_);
    EXPECT_EQ(replies_.size(), commands_.size());
    EXPECT_FALSE(behind_);
    told_ = session_.tls_answer();
    deciding_ = true;
    const std::string last = commands_.back().substr(0, 4);
    const int code = ReplyTo(commands_.size() - 1);
    if (told_ == TlsAnswer::kNotOffered) {
      EXPECT_EQ(last, "EHLO");
      EXPECT_TRUE(Positive(code) && !offers_tls_);
    } else if (told_ == TlsAnswer::kEhloRefused) {
      EXPECT_EQ(last, "HELO");
      EXPECT_TRUE(Positive(code));
      EXPECT_EQ(session_.reply().code, ReplyTo(commands_.size() - 2));
    } else {
      EXPECT_EQ(told_, TlsAnswer::kRefused);
      EXPECT_EQ(last, "STAR");
      EXPECT_TRUE(code >= 400 && code != 421) << code;
      EXPECT_EQ(session_.reply().code, code);
    }
  }

  // What was told stands; behind the 220 there is but injection.
  void JudgeTlsAtTheEnd() {
    const TlsAnswer answer = session_.tls_answer();
    ++answers[static_cast<size_t>(answer)];
    if (told_) {
      EXPECT_EQ(answer, *told_);
    } else if (had_handshake_) {
      EXPECT_EQ(answer, injected_ ? TlsAnswer::kInjected : TlsAnswer::kNone);
    } else if (commands_.back() == "STARTTLS") {
      JudgeLostStartTls(answer, ReplyTo(commands_.size() - 1));
    } else if (answer != TlsAnswer::kNone) {  // More came with the EHLO reply that offered it.
      EXPECT_TRUE(wants_tls_ && offers_tls_);
      EXPECT_TRUE(answer == TlsAnswer::kGarbage || answer == TlsAnswer::kClosed);
      EXPECT_TRUE(behind_ || replies_.size() > commands_.size());
    }
  }

  // `code`: of the reply to it; 0: none came.
  void JudgeLostStartTls(TlsAnswer answer, int code) {
    if (code == 0) {
      EXPECT_EQ(answer, lost_by_);
    } else if (code == 220) {
      EXPECT_EQ(answer, TlsAnswer::kInjected);
    } else if (code == 421) {
      EXPECT_EQ(answer, TlsAnswer::kClosed);
    } else if (code >= 400) {  // More came with it.
      EXPECT_TRUE(answer == TlsAnswer::kGarbage || answer == TlsAnswer::kClosed);
      EXPECT_TRUE(behind_ || replies_.size() > commands_.size());
    } else {
      EXPECT_EQ(answer, TlsAnswer::kGarbage);
    }
  }

  void NoteRecipient(absl::string_view command) {
    for (size_t i = 0; i < recipients_.size(); ++i) {
      if (command != absl::StrCat("RCPT TO:<", recipients_[i].address, ">")) continue;
      EXPECT_FALSE(rcpt_commands_[i].has_value());
      rcpt_commands_[i] = commands_.size();
      return;
    }
    ADD_FAILURE() << command;
  }

  void JudgeBody() {
    EXPECT_TRUE(offered_);
    EXPECT_EQ(commands_.back(), "DATA");
    EXPECT_EQ(ReplyTo(commands_.size() - 1), 354);
    bool somebody = false;
    for (const std::optional<size_t>& command : rcpt_commands_) {
      somebody |= command && Positive(ReplyTo(*command));
    }
    EXPECT_TRUE(somebody);
    EXPECT_FALSE(body_asked_);
    body_asked_ = true;
    sending_body_ = true;
  }

  void JudgeRecipient(char verdict) {
    const size_t index = session_.recipient_index();
    ASSERT_LT(index, recipients_.size());
    EXPECT_TRUE(offered_);
    EXPECT_EQ(verdicts_[index], ' ');
    verdicts_[index] = verdict;
    if (!rcpt_commands_[index]) {
      EXPECT_EQ(verdict, 'm');  // Not sent.
      return;
    }
    const int code = ReplyTo(*rcpt_commands_[index]);
    if (verdict == 'm') {
      EXPECT_TRUE(code == 452 || code == 552) << code;
    } else {
      EXPECT_TRUE(code >= 400 && code != 421) << code;
      EXPECT_EQ(session_.reply().code, code == 552 ? 452 : code);
    }
  }

  void JudgeMessage() {
    ASSERT_TRUE(offered_);
    offered_ = false;
    const int last = replies_.empty() ? 0 : ReplyTo(commands_.size() - 1);
    switch (session_.result()) {
      case MessageResult::kAccepted:
        ++accepted;
        JudgeAccepted(last);
        break;
      case MessageResult::kRefused:
        ++refused;
        EXPECT_GE(session_.reply().code, 400);
        break;
      case MessageResult::kUnsendable:
        EXPECT_EQ(std::string(verdicts_.size(), ' '), verdicts_);
        EXPECT_FALSE(rcpt_commands_[0].has_value());
        break;
      case MessageResult::kSessionLost:
        ++lost;
        EXPECT_FALSE(handed_over_);
        break;
      case MessageResult::kInDoubt:
        ++in_doubt;
        EXPECT_TRUE(handed_over_);
        break;
      case MessageResult::kUntried:
        ADD_FAILURE() << "nothing is offered ahead here";
        break;
    }
    sending_body_ = false;
  }

  void JudgeAccepted(int reply_to_dot) {
    EXPECT_TRUE(handed_over_);
    EXPECT_EQ(commands_.back(), "body");
    EXPECT_TRUE(Positive(reply_to_dot)) << reply_to_dot;
    EXPECT_EQ(session_.reply().code, reply_to_dot);
    for (size_t i = 0; i < recipients_.size(); ++i) {
      if (verdicts_[i] != ' ') continue;
      ASSERT_TRUE(rcpt_commands_[i].has_value());
      EXPECT_TRUE(Positive(ReplyTo(*rcpt_commands_[i])));
    }
  }

  Random random_;
  double reliability_;
  Duration clock_{};
  ClientSession session_;
  // The n-th reply answers the n-th of these. The greeting is a command, and so is the body's end.
  std::vector<std::string> commands_ = {"greeting"};
  std::vector<int> replies_;
  bool pipelining_ = false;
  bool ready_ = false;
  bool closed_ = false;
  bool dead_ = false;
  // TLS.
  bool wants_tls_ = false;
  bool offers_tls_ = false;        // In the last EHLO.
  std::optional<TlsAnswer> told_;  // With kTlsAnswer.
  bool deciding_ = false;
  bool continued_ = false;  // In clear.
  bool handshake_ = false;  // It is on.
  bool had_handshake_ = false;
  bool established_ = false;
  bool injected_ = false;  // The last bytes came during the handshake.
  bool behind_ = false;    // The last piece ends amid a reply.
  TlsAnswer lost_by_ = TlsAnswer::kNone;
  // The transaction.
  std::vector<EnvelopeRecipient> recipients_;
  std::vector<const EnvelopeRecipient*> lent_;
  std::string verdicts_;  // ' ' none, 'r' refused, 'm' moved.
  std::vector<std::optional<size_t>> rcpt_commands_;
  bool offered_ = false;
  bool body_asked_ = false;
  bool sending_body_ = false;
  bool handed_over_ = false;
};

TEST(ClientModel, TenThousandDialogues) {
  int accepted = 0;
  int refused = 0;
  int lost = 0;
  int in_doubt = 0;
  int encrypted = 0;
  int in_clear = 0;
  int answers[8] = {};
  for (uint64_t seed = 1; seed <= 10000; ++seed) {
    SCOPED_TRACE(seed);
    ChanceServer server(seed);
    server.Run();
    accepted += server.accepted;
    refused += server.refused;
    lost += server.lost;
    in_doubt += server.in_doubt;
    encrypted += server.encrypted;
    in_clear += server.in_clear;
    for (size_t i = 0; i < std::size(answers); ++i) answers[i] += server.answers[i];
    if (testing::Test::HasFailure()) break;
  }
  // The scripts reach every outcome, many times over.
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
  EXPECT_GT(lost, 100);
  EXPECT_GT(in_doubt, 100);
  EXPECT_GT(encrypted, 1000);
  EXPECT_GT(in_clear, 1000);
  for (const int count : answers) EXPECT_GT(count, 50);
}

}  // namespace
}  // namespace sluice::smtp
