// A model SMTP server, written without engine/smtp, which also judges us: no command out of turn,
// nothing pipelined unasked, no body before the 354, dots stuffed right, no RSET before the first
// MAIL and one after every transaction that is known to have failed, sizes as declared, limits
// kept.
//
// It answers as a drawn fault says, or as its manners are.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/check_limits.h"
#include "tests/sim/check_policy.h"
#include "tests/sim/ledger.h"
#include "tests/sim/network.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_io.h"
#include "tests/sim/toy_tls.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// What a peer that offers SIZE says.
inline constexpr uint64_t kPeerSizeMax = 40000;

// What everybody in a simulation works with.
struct Scene {
  World& world;
  Network& network;
  Ledger& ledger;
  LimitsChecker& limits;
  PolicyChecker& policy;
  const Options& options;
  bool faults_on = true;
};

// How one host is, as long as the simulation lasts.
struct Manners {
  bool pipelining = true;
  bool helo_only = false;
  bool size = true;
  bool eight_bit = true;
  bool notifications = false;            // DSN (RFC 3461).
  uint32_t recipients_max = UINT32_MAX;  // Of a transaction: then 452.
  bool multi_line = false;
  bool start_tls = false;
  ToyCertificate certificate;  // That it shows.
  Duration answer_max = std::chrono::milliseconds(1);
  // A MAIL that comes ahead of its answer to the dot is taken; or refused with 503 (as Haraka
  // does), never read, answered by closing, or refused while what follows is taken for the message
  // before.
  enum class Ahead : uint8_t { kTaken, kRefused, kUnread, kLeft, kMixedUp };
  Ahead ahead = Ahead::kTaken;
  bool chunking = false;  // RFC 3030.
  // A message by BDAT is taken; or the host says that it does not know BDAT, closes, or falls
  // silent when it has come.
  enum class Chunks : uint8_t { kTaken, kUnknown, kLeft, kUnread };
  Chunks chunks = Chunks::kTaken;
};

class PeerSession : public End {
 public:
  // `unanswered`: the host's, for all of its sessions: when each STARTTLS was said that no
  // handshake has followed.
  PeerSession(Scene& scene, const Manners& manners, const std::string& domain, uint64_t call,
              Connection& connection, std::multiset<Instant>& unanswered);
  void OnArrival(Connection& connection) override;

 private:
  enum class State : uint8_t {
    kGreeting,
    kStart,
    kReady,
    kMail,
    kRecipients,
    kBody,
    kChunk,
    kSecuring,
    kGone
  };
  enum class Stage : uint8_t { kHello, kMail, kRecipient, kData, kDot, kOther };

  void Greet();
  void Process();
  bool TakeCommand();
  bool TakeBody();
  bool TakeChunk();
  bool TakeHandshake();
  void TakeFlight();
  bool BreaksHandshake();
  void SendFlight(Duration delay);
  void Decipher();
  // Where in the stream of the connection the byte lies that is `at` in what was read.
  uint64_t StreamOf(uint64_t at) const;
  void Write(absl::string_view text);
  const ToyCertificate* shown() const { return secure_ ? &manners_.certificate : nullptr; }
  void Obey(absl::string_view line);
  void ObeyHello(absl::string_view line);
  void ObeyStartTls();
  void ObeyMail(absl::string_view argument);
  void ObeyMailAhead();
  void ObeyRecipient(absl::string_view argument);
  void JudgeParameter(absl::string_view parameters, absl::string_view name,
                      absl::string_view value);
  void JudgeAgain(const RecipientFacts& recipient);
  std::string Greylisted(RecipientFacts& recipient);
  void ObeyData();
  void ObeyBdat(absl::string_view line);
  void EndBody(absl::string_view wire);
  void EndMessage(absl::string_view message);
  bool MisbehavesAt(Stage stage);
  std::string RefusalAt(Stage stage);

  // `then`: what the answer makes of the state, when it is written.
  void Answer(std::string text, State then, bool closes = false);
  void AnswerAfter(Duration delay, std::string text, State then, bool closes);
  void Close(bool reset);
  void Judge(bool fine, absl::string_view fault);
  void TookIt(absl::string_view message);

  Scene& scene_;
  const Manners& manners_;  // The host's.
  const std::string domain_;
  const uint64_t call_;
  Connection& connection_;
  std::multiset<Instant>& unanswered_;
  Instant asked_{};  // STARTTLS, on this connection.

  State state_ = State::kGreeting;
  std::string input_;      // Opened, under TLS.
  uint64_t input_at_ = 0;  // Where it begins in all that was read in clear, or under TLS.
  std::unique_ptr<ToyStream> tls_;
  uint64_t tls_at_ = 0;  // Where in the stream it begins.
  bool secure_ = false;
  bool flight_came_ = false;
  bool tls_offered_ = false;  // In clear.
  bool answering_ = false;
  bool deaf_ = false;  // Reads nothing more.
  bool garbled_ = false;
  bool offered_ = false;     // EHLO was answered with our extensions.
  uint64_t last_reply_ = 0;  // Where our last answer ends,
  uint64_t barrier_ = 0;     // and the last one that must be awaited with PIPELINING too.
  bool barrier_next_ = false;
  bool reset_owed_ = false;
  bool heard_ = true;        // Our last answer left: the connection had not broken.
  bool mail_ahead_ = false;  // MAIL was written before our answer to the dot was read.
  bool mixed_up_ = false;
  bool refused_ahead_ = false;  // On this connection: with 503, and not for want of RSET.
  uint32_t transactions_ = 0;

  std::string sender_;
  uint64_t declared_bytes_ = UINT64_MAX;
  bool eight_bit_declared_ = false;
  std::vector<std::string> accepted_;
  std::set<std::string> seen_;
  Instant mail_written_{};
  uint64_t body_refused_after_ = UINT64_MAX;
  size_t body_scanned_ = 0;
  uint64_t chunk_bytes_ = 0;
  bool chunk_in_turn_ = false;
  bool refused_chunk_ = false;         // As unknown, on this connection.
  std::vector<uint32_t> deliveries_;   // That the next answer confirms,
  RecipientFacts* refused_ = nullptr;  // and whom it says to be unknown.
};

class PeerHost : public Callee {
 public:
  PeerHost(Scene& scene, std::string domain, const SocketAddress& address, const Manners& manners)
      : scene_(scene), domain_(std::move(domain)), address_(address), manners_(manners) {
    scene_.network.Listen(address_, this);
  }
  const std::string& domain() const { return domain_; }
  void OnCall(Connection& connection) override;
  // The number of the call that OnCall will get next.
  void ExpectCall(uint64_t call) { next_call_ = call; }

 private:
  Scene& scene_;
  const std::string domain_;
  const SocketAddress address_;
  const Manners manners_;
  uint64_t next_call_ = 0;
  std::multiset<Instant> unanswered_;
  std::vector<std::unique_ptr<PeerSession>> sessions_;
};

}  // namespace sluice::sim
