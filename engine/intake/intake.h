// The listening side of one shard: accepts connections, runs an SMTP dialogue on each, streams
// bodies to the home of the messages, and answers the dot when the home says that the promise is
// kept.
//
// Input is consumed only as fast as it can be answered: while the dot waits for its promise, or the
// client does not read its replies, input waits in the session's buffer, and when that is full the
// receive is cancelled, so that TCP holds the client back. So it does while the disk is behind with
// a large body.
//
// Time that a client has: idle_timeout for each command, counted from the answer to the one before,
// so that a byte now and then wins nothing (F06); in DATA kDataWindowBytesMin in each kDataWindow.
//
// One shard owns it. The shard routes to it the completions with the tags and the timers of the
// kind that it handed over in Options, and the promises of the home.

#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/ip_address.h"
#include "engine/base/limits.h"
#include "engine/base/slab.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/home.h"
#include "engine/delivery/tags.h"
#include "engine/intake/session.h"
#include "engine/io/io.h"
#include "tls/environment.h"
#include "tls/handshaker.h"

namespace sluice::intake {

// A client that stays below 100 bytes a second in DATA over five minutes is cut off. Slower links
// do not carry mail (Postfix's smtp_min_data_rate is 500), and RFC 5321 4.5.3.2.7 asks for five
// minutes.
inline constexpr Duration kDataWindow = std::chrono::minutes(5);
inline constexpr uint64_t kDataWindowBytesMin = 30'000;

// For a client to finish its handshake.
inline constexpr Duration kHandshakeTimeout = std::chrono::seconds(30);

// Of a client's handshake, what comes while a flight of it is being worked on.
inline constexpr size_t kHandshakeBytesMax = 64 << 10;

// For a client to take our last reply.
inline constexpr Duration kFarewellTimeout = std::chrono::seconds(30);

// Descriptors or memory have run out: the next accept is tried after this.
inline constexpr Duration kAcceptPause = std::chrono::seconds(1);

// Replies that a client has not read. Beyond, no more of its input is consumed.
inline constexpr size_t kUnsentBytesMax = 64 << 10;

// Sessions beyond the bound that are only told so. Beyond these: closed without a word.
inline constexpr uint32_t kRefusedSessionsMax = 64;

struct Listener {
  io::Socket socket;                // Listening already. Closed by Intake when it drains.
  std::vector<Network> relay_from;  // Who may inject.
  uint64_t message_bytes_max = 52428800;
  std::string certificate;  // By its name among those loaded; empty: STARTTLS is not offered.
};

class Intake {
 public:
  struct Options {
    absl::string_view hostname;  // Lent for Intake's life.
    std::vector<Listener> listeners;
    uint32_t sessions_max = limits::kIntakeSessionsPerShardMax;
    Duration idle_timeout = std::chrono::minutes(5);  // RFC 5321 4.5.3.2.7
    uint32_t shard = 0;                               // For the jobs of the handshaker.
  };

  // All lent for Intake's life. `handshaker` may be null where no listener has a certificate.
  Intake(Options options, io::Io& io, delivery::Home& home, TimerWheel& timers,
         tls::Handshaker* handshaker);

  void Start(Now now);
  // The listeners' certificates, from now on.
  void UseTls(std::shared_ptr<const tls::Environment> environment);

  // The shard's loop.
  void OnCompletion(const io::Completion& completion, Now now);
  void OnTimer(Timer& timer, Now now);
  void OnPromises(std::span<const delivery::Promise> promises, Now now);
  // Once a turn, after the home's: bodies that waited for the disk go on.
  void Turn();
  // A flight is back from the pool.
  void OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now);

  // No more connections and no more transactions: who is between two gets 421 4.3.2, who is in one
  // may finish it. Once.
  void BeginDrain(Now now);
  // The drain has lasted long enough: sessions end where they are. After BeginDrain.
  void CutOff(Now now);
  // Listeners and sessions are closed, nothing is in flight.
  bool Drained() const { return draining_ && open_listeners_ == 0 && sessions_.taken() == 0; }

  uint32_t sessions() const { return sessions_.taken(); }

 private:
  struct ListenerState {
    bool accepting = false;
    bool closed = false;
  };

  // --- Listeners.
  void Accept(uint32_t listener);
  void OnAccepted(const io::Completion& completion, Now now);
  void AcceptAgain(Now now);
  void CloseListener(uint32_t listener);
  void Admit(const Listener& listener, io::Socket socket, Now now);

  // --- A session. Those marked (ends) may close it and give its slot away: nothing follows them.
  void OnReceived(Session& session, const io::Completion& completion, Now now);  // (ends)
  void OnSent(Session& session, int32_t result, Now now);                        // (ends)
  void OnSessionTimer(Session& session, Now now);                                // (ends)
  void OnPromise(const delivery::Promise& promise, Now now);                     // (ends)
  void Continue(Session& session, absl::string_view received, Now now);          // (ends)
  void Settle(Session& session, Now now);                                        // (ends)
  void End(Session& session);                                                    // (ends)
  void FreeIfJoined(Session& session);                                           // (ends)

  // TLS (intake_tls.cc).
  void OnBytes(Session& session, absl::string_view bytes, Now now);  // (ends)
  void OnSecure(Session& session, Now now);                          // (ends)
  void AwaitHandshake(Session& session, Now now);
  void SubmitFlight(Session& session, std::unique_ptr<tls::HandshakeJob> job, Now now);  // (ends)
  std::shared_ptr<const tls::Context> ContextOf(const Listener& listener) const;

  void Serve(Session& session, absl::string_view& input, Now now);
  void TakeEvents(Session& session, absl::string_view& input, Now now);
  void BeginMessage(Session& session, Now now);
  void CommitMessage(Session& session, Now now);
  void AbandonMessage(Session& session);
  void SayFarewell(Session& session, Now now);
  void SendOutput(Session& session);
  void PauseOrReceive(Session& session);

  io::OpId Op(delivery::Tag tag, const Session& session) {
    return io::MakeOpId(static_cast<uint8_t>(tag), sessions_.HandleOf(session));
  }

  const Options options_;
  io::Io& io_;
  delivery::Home& home_;
  TimerWheel& timers_;
  tls::Handshaker* handshaker_;
  std::shared_ptr<const tls::Environment> tls_;

  std::vector<ListenerState> listeners_;
  uint32_t open_listeners_ = 0;
  Timer accept_timer_;
  Slab<Session> sessions_;
  IntrusiveList<Session, &Session::held_hook> held_;  // Home::Behind.
  bool draining_ = false;
};

}  // namespace sluice::intake
