// The sockets of the load: connects, sends messages as the work gives them out, and keeps the
// ledger, on one thread and one ring.
//
// A message that was lost with its session, or is in doubt, goes out again under a new id; one that
// was refused does so later if that was asked for. The ledger says what got a 250, and it is
// written before the next turn begins: what stands in it was promised, whatever happens to this
// process.
//
// Where TLS is asked for, nothing is sent without it: a server that does not offer it ends the run;
// one that refuses it for now, or fails in the handshake, is tried again as after any lost session.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/io/io.h"
#include "engine/smtp/client_session.h"
#include "tools/line_file.h"
#include "tools/load/carried.h"
#include "tools/load/message_maker.h"
#include "tools/load/options.h"
#include "tools/load/results.h"
#include "tools/load/work.h"
#include "tools/secure_bytes.h"

namespace sluice::tools {

class Load {
 public:
  Load(const LoadOptions& options, io::Io& io, Now now);

  absl::Status OpenLedger() { return ledger_.Open(options_.ledger_path); }

  // Returns when all messages have their end, at the timeout, or when it is told to stop. An error
  // says in a sentence why not all that was asked for was done.
  absl::Status Run();

  const LoadResults& results() const { return results_; }

 private:
  enum class Tag : uint8_t { kConnect, kReceive, kSend };

  enum class Phase : uint8_t {
    kAway,  // No socket. In away_.
    kConnecting,
    kOpen,
    kClosing,  // Waits for the operations in flight.
  };

  struct Connection {
    Handle handle;  // Index, and the number of its socket.
    io::Socket socket;
    Phase phase = Phase::kAway;
    smtp::ClientSession session;
    SecureBytes secure;
    Timer deadline;              // The session's, and the handshake's.
    ListHook hook;               // In away_ or ready_.
    Instant open_from;           // kAway: not before.
    Instant secure_by = kNever;  // The handshake's end.
    uint64_t accepted = 0;       // On this connection.

    // The message that is on, and the one that was offered ahead of its end.
    std::array<Carried, 2> carried;
    bool second = false;  // Which of them is on.
    bool ahead = false;   // There is the other.
    Carried& current() { return carried[second ? 1 : 0]; }
    Carried& next() { return carried[second ? 0 : 1]; }

    std::string sending;  // Lent to the ring, with the message.
    bool ready = false;   // In ready_: may be offered a message.
    bool ready_after_send = false;
    bool body_pending = false;
    bool quitting = false;
    bool connect_in_flight = false;
    bool receive_in_flight = false;
    bool send_in_flight = false;
  };

  // Turns, the ledger, the end of the run: load.cc.
  void Turn();
  Instant TurnEnd() const;
  bool Finished() const;
  absl::Status Verdict() const;
  void OnInterval();
  void Stop();

  // Sockets: load_connections.cc.
  void OpenAway();
  void Open(Connection& connection);
  void OnCompletion(const io::Completion& completion);
  void OnConnect(Connection& connection, const io::Completion& completion);
  void BeginClose(Connection& connection);
  void FinishClose(Connection& connection);
  io::OpId OpOf(const Connection& connection, Tag tag) const;

  // Open ones: load_sessions.cc.
  void OnReceive(Connection& connection, const io::Completion& completion);
  void TakeSecure(Connection& connection, absl::string_view ciphertext);
  void OnDeadline(Connection& connection);
  void OnSend(Connection& connection, const io::Completion& completion);
  void Drive(Connection& connection);
  void DriveActions(Connection& connection);
  void OnTlsAnswer(Connection& connection);
  void BeginHandshake(Connection& connection);
  void SendOutput(Connection& connection);
  void SendClear(Connection& connection);
  void SendSecure(Connection& connection);
  void EndBody(Connection& connection);
  void OfferAhead(Connection& connection);
  void BecomeReady(Connection& connection);
  bool UsedUp(const Connection& connection) const;
  void ServeReady();
  void Offer(Connection& connection, const Piece& piece);
  smtp::Transaction Prepare(Carried& carried, const Piece& piece);
  void Quit(Connection& connection);

  // What became of the mail: load_outcomes.cc.
  void OnRecipientRefused(Connection& connection);
  void OnMessageDone(Connection& connection);
  void CountRefusal(Carried& carried, const smtp::Reply& reply, bool may_retry);

  const LoadOptions& options_;
  io::Io& io_;
  Now now_;
  const uint32_t run_;  // Of the probe ids.
  uint64_t next_number_ = 0;
  MessageMaker maker_;
  Work work_;
  LineFile ledger_;
  LoadResults results_;
  TimerWheel timers_;
  std::vector<Connection> connections_;  // Never grows: timers and hooks point into it.
  IntrusiveList<Connection, &Connection::hook> away_;
  IntrusiveList<Connection, &Connection::hook> ready_;
  std::vector<io::Completion> completions_;
  std::string plaintext_;  // Of one send under TLS, gathered: few records, and full.
  std::string last_tls_fault_;
  absl::Status failure_;  // Of the ledger, or for want of TLS.
  Instant started_at_;
  Instant interval_at_;
  uint64_t accepted_at_interval_ = 0;
  bool stopping_ = false;
  bool timed_out_ = false;
  Instant abort_at_ = kNever;  // After Stop.
};

}  // namespace sluice::tools
