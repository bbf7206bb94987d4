#include "tests/sim/sim_injector.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string RecipientCommand(absl::string_view address, const RecipientFacts& recipient) {
  const std::string notify =
      recipient.notify.empty() ? "" : absl::StrCat(" NOTIFY=", recipient.notify);
  return absl::StrCat("RCPT TO:<", address, ">", notify, "\r\n");
}

}  // namespace

std::string Stuffed(absl::string_view content) {
  std::string wire;
  bool line_begins = true;
  for (const char c : content) {
    if (line_begins && c == '.') wire += '.';
    wire += c;
    line_begins = c == '\n';
  }
  return wire;
}

Injector::Injector(Scene& scene, std::vector<uint32_t> messages, const SocketAddress& listener)
    : scene_(scene), messages_(std::move(messages)) {
  pipelines_ = scene_.world.Chance(0.5);
  wants_tls_ = scene_.options.intake_tls && scene_.world.Chance(0.7);
  Callee* callee = scene_.network.FindCallee(listener);
  SocketAddress from = *SocketAddress::Parse("127.0.0.1:40000");
  Connection& connection = scene_.network.Open(from, listener);
  connection_ = &connection;
  connection.Attach(0, this);
  Expect(Waits::kGreeting);
  if (callee != nullptr) {
    callee->OnCall(connection);
  } else {
    Lost();
  }
}

void Injector::OnArrival(Connection& connection) {
  if (gone_) return;
  const absl::string_view unread = connection.Unread(0);
  if (tls_ == nullptr) {
    input_.append(unread.data(), unread.size());
  } else {
    tls_->Feed(unread);
  }
  connection.Take(0, unread.size());
  if (tls_ != nullptr) TakeFlight();
  for (size_t end = input_.find("\r\n"); end != std::string::npos && !gone_;
       end = input_.find("\r\n")) {
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    scene_.world.Happens("injector hears", connection.number(), 0, line);
    if (line.size() < 3) return scene_.world.Violated("injector", "hears " + line);
    offered_tls_ |= line == "250-STARTTLS" || line == "250 STARTTLS";
    if (line.size() == 3 || line[3] == ' ') OnReply(std::atoi(line.substr(0, 3).c_str()), line);
  }
  if (gone_) return;
  if (connection.reset(0) || connection.finished(0)) Lost();
}

// What was not answered is not promised; if its dot was sent, it may be there all the same.
void Injector::Lost() {
  gone_ = true;
  for (; current_ < messages_.size(); ++current_) {
    if (message().state == MessageState::kComing) message().state = MessageState::kBrokenOff;
  }
  if (connection_->reset(0)) return;
  connection_->Finish(0);
}

void Injector::BreakOff() {
  scene_.world.Happens("injector breaks off", connection_->number());
  const bool reset = scene_.world.Chance(0.5);
  if (reset) connection_->Reset(0);
  Lost();
}

void Injector::OnReply(int code, absl::string_view text) {
  if (code == 421) return Lost();
  if (waits_.empty()) return scene_.world.Violated("injector", absl::StrCat("unasked: ", text));
  const Waits waited = waits_.front();
  waits_.pop_front();
  // A body that nobody may refuse for good is what all of ours are.
  const bool relayed = code < 500 || refused_ || waited == Waits::kData;
  if (!relayed) return scene_.world.Violated("injector", absl::StrCat("refused: ", text));
  switch (waited) {
    case Waits::kGreeting:
      Expect(Waits::kEhlo);
      return Say("EHLO injector.test\r\n");
    case Waits::kEhlo:
      if (secure_ && offered_tls_) {
        return scene_.world.Violated("injector", "STARTTLS is offered under TLS");
      }
      if (!wants_tls_ || secure_) return BeginMessage();
      if (!offered_tls_) return scene_.world.Violated("injector", "STARTTLS is not offered");
      Expect(Waits::kStartTls);
      return Say("STARTTLS\r\n");
    case Waits::kStartTls:
      if (code == 220) return BeginHandshake();
      return BeginMessage();
    case Waits::kMail:
      refused_ |= code >= 400;
      break;
    case Waits::kRecipient:
      refused_ |= code >= 400;
      recipients_accepted_ += code < 300;
      break;
    case Waits::kData:
      if (code == 354) return SendBody();
      message().state = MessageState::kRefused;
      ++current_;
      // The transaction stands until it is reset (RFC 5321 4.1.1.5).
      Expect(Waits::kReset);
      return Say("RSET\r\n");
    case Waits::kReset:
      return BeginMessage();
    case Waits::kDot:
      if (code >= 400) {
        message().state = MessageState::kRefused;
      } else {
        message().state = MessageState::kAccepted;
        const size_t id = text.rfind(' ');
        message().id = std::string(text.substr(id + 1));
      }
      ++current_;
      return BeginMessage();
    case Waits::kQuit:
      return Lost();
  }
  if (!pipelines_) Continue();
}

// -------------------------------------------------------------------------------------------------
// TLS.

void Injector::Say(const std::string& text) {
  if (!secure_) return connection_->Write(0, text);
  CHECK(tls_->Seal(text));
  SendFlight();
}

void Injector::SendFlight() {
  std::string flight;
  tls_->TakeOutput(flight);
  connection_->Write(0, flight);
}

// Some begin it and are gone, some say something else.
void Injector::BeginHandshake() {
  World& world = scene_.world;
  if (!input_.empty()) return world.Violated("injector", "more than the 220 to STARTTLS");
  tls_ = ToyStream::Client(world.random().Next(), world.Chance(0.5) ? "relay.test" : "");
  tls_->Handshake();
  if (scene_.faults_on && world.Chance(scene_.options.faults.injector_breaks)) {
    if (world.Chance(0.5)) {
      connection_->Write(0, "MAIL FROM:<somebody@else.test>\r\n");
    } else {
      SendFlight();
    }
    if (world.Chance(0.5)) BreakOff();
    return;
  }
  SendFlight();
}

void Injector::TakeFlight() {
  if (secure_) {
    if (tls_->Open(input_) != tls::Stream::Opened::kFailed) return;
    return scene_.world.Violated("injector", "is sent what cannot be opened");
  }
  const tls::Step step = tls_->Handshake();
  SendFlight();
  if (step != tls::Step::kEstablished) return;  // A failed one: the listener closes.
  secure_ = true;
  offered_tls_ = false;
  Expect(Waits::kEhlo);
  Say("EHLO injector.test\r\n");
  tls_->Open(input_);
}

// -------------------------------------------------------------------------------------------------
// Messages.

void Injector::BeginMessage() {
  if (gone_) return;
  if (current_ == messages_.size() || refused_) {
    for (size_t i = current_; i < messages_.size(); ++i) {
      scene_.ledger.messages[messages_[i]].state = MessageState::kBrokenOff;
    }
    current_ = messages_.size();
    Expect(Waits::kQuit);
    return Say("QUIT\r\n");
  }
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.injector_breaks * 0.3)) {
    return BreakOff();
  }
  recipients_said_ = 0;
  recipients_accepted_ = 0;
  Expect(Waits::kMail);
  std::string group = absl::StrCat("MAIL FROM:<", message().sender, ">");
  if (!message().ret.empty()) absl::StrAppend(&group, " RET=", message().ret);
  if (!message().envelope_id.empty()) absl::StrAppend(&group, " ENVID=", message().envelope_id);
  group += "\r\n";
  if (pipelines_) {
    for (const RecipientFacts& recipient : message().recipients) {
      absl::StrAppend(&group, RecipientCommand(recipient.address, recipient));
      Expect(Waits::kRecipient);
    }
    group += "DATA\r\n";
    Expect(Waits::kData);
  }
  Say(group);
}

void Injector::Continue() {
  if (!waits_.empty()) return;
  if (recipients_said_ < message().recipients.size()) {
    const RecipientFacts& recipient = message().recipients[recipients_said_++];
    std::string address = recipient.address;
    if (scene_.world.Chance(0.1)) {  // Domains have no case.
      const size_t at = address.find('@');
      address = address.substr(0, at) + absl::AsciiStrToUpper(address.substr(at));
    }
    Expect(Waits::kRecipient);
    return Say(RecipientCommand(address, recipient));
  }
  Expect(Waits::kData);
  Say("DATA\r\n");
}

void Injector::SendBody() {
  const std::string wire = Stuffed(message().content);
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.injector_breaks)) {
    if (scene_.world.Chance(0.5)) {
      Say(wire.substr(0, scene_.world.Between(0, wire.size())));
    } else {
      message().state = MessageState::kSent;
      Say(wire + ".\r\n");
    }
    return BreakOff();
  }
  message().state = MessageState::kSent;
  Expect(Waits::kDot);
  Say(wire + ".\r\n");
}

// -------------------------------------------------------------------------------------------------

void Injectors::Schedule(uint32_t messages, Duration during) {
  World& world = scene_.world;
  // Mail comes in bursts as well as evenly.
  const double bursts = world.random().Fraction();
  while (messages > 0) {
    const uint32_t most = world.Chance(bursts) ? 30 : 3;
    const auto count = static_cast<uint32_t>(world.Between(1, std::min(most, messages)));
    messages -= count;
    world.After(Duration(static_cast<int64_t>(world.random().Fraction() *
                                              static_cast<double>(during.count()))),
                [this, count] { Inject(count); });
  }
}

void Injectors::Inject(uint32_t count) {
  while (count > 0) {
    const SocketAddress* listener = listener_();
    if (listener == nullptr) return;  // Nobody is there: mail that never was.
    std::vector<uint32_t> messages;
    const uint64_t here = scene_.world.Between(1, std::min<uint32_t>(count, 10));
    for (uint64_t i = 0; i < here; ++i) messages.push_back(DrawMessage());
    count -= static_cast<uint32_t>(here);
    injectors_.push_back(std::make_unique<Injector>(scene_, std::move(messages), *listener));
  }
}

// Few domains get most of the mail.
std::string Injectors::DrawDomain(bool existing) {
  const std::map<std::string, DomainFacts>& domains = scene_.ledger.domains;
  for (int i = 0; i < 100; ++i) {
    const double fraction = scene_.world.random().Fraction();
    auto at = domains.begin();
    std::advance(at, static_cast<long>(fraction * fraction * static_cast<double>(domains.size())));
    if (at->second.exists || !existing) return at->first;
  }
  for (const auto& [name, domain] : domains) {
    if (domain.exists) return name;
  }
  CHECK(!"there is always one domain that exists");
  return "";
}

uint32_t Injectors::DrawMessage() {
  World& world = scene_.world;
  MessageFacts& message = scene_.ledger.NewMessage(DrawDomain(/*existing=*/true));
  const uint64_t recipients = world.Between(1, scene_.options.recipients_max);
  const std::string usual = DrawDomain(false);
  for (uint64_t i = 0; i < recipients; ++i) {
    scene_.ledger.AddRecipient(message, world.Chance(0.5) ? usual : DrawDomain(false),
                               world.Chance(scene_.options.unknown_recipients));
  }
  DrawNotifications(message);
  message.content = DrawContent(message.number);
  return message.number;
}

// What the sender wants to hear (RFC 3461).
void Injectors::DrawNotifications(MessageFacts& message) {
  World& world = scene_.world;
  if (!scene_.options.notifications || world.Chance(0.5)) return;
  if (world.Chance(0.5)) message.ret = world.Chance(0.5) ? "HDRS" : "FULL";
  if (world.Chance(0.5)) message.envelope_id = absl::StrCat("e+2B", message.number);
  const char* const choices[] = {"", "NEVER", "FAILURE", "SUCCESS"};
  for (RecipientFacts& recipient : message.recipients) {
    recipient.notify = choices[world.random().Below(4)];
  }
}

std::string Injectors::DrawContent(uint32_t number) {
  World& world = scene_.world;
  std::string content = absl::StrCat("X-Number: ", number, "\r\n\r\n");
  const uint64_t bytes = world.Between(
      0, world.Chance(scene_.options.short_bodies) ? 600 : scene_.options.body_bytes_max);
  while (content.size() < bytes) {
    if (world.Chance(0.1)) content += '.';
    if (world.Chance(0.05)) content += "..";
    std::string line(world.Between(0, 200), static_cast<char>('a' + world.random().Below(26)));
    if (world.Chance(0.01)) line += "\xc3\xa9";
    content += line + "\r\n";
  }
  return content;
}

}  // namespace sluice::sim
