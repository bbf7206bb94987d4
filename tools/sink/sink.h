// The sockets of the sink: accepts, reads, answers and closes, on one thread and one ring.
//
// Run returns when it was told to stop or all expected messages have come, and every socket is
// closed.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/slab.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/io/io.h"
#include "tools/line_file.h"
#include "tools/sink/dialogue.h"
#include "tools/sink/faults.h"
#include "tools/sink/options.h"
#include "tools/sink/tally.h"

namespace sluice::tools {

class Sink {
 public:
  Sink(const SinkOptions& options, uint32_t connections_max, io::Io& io, Now now);

  // Says where it listens, one "listening on ADDRESS:PORT" a line on standard error.
  absl::Status Listen();
  absl::Status Run();

  const Tally& tally() const { return tally_; }
  const Faults& faults() const { return faults_; }
  uint64_t refused_by_session() const { return sinking_.refused_by_session; }
  uint64_t connections_refused() const { return connections_refused_; }
  // From the first connection to the last message.
  Duration busy() const {  // From the first DATA to the last message.
    return last_message_at_ - sinking_.first_data_at.value_or(last_message_at_);
  }

 private:
  enum class Tag : uint8_t { kAccept, kReceive, kSend };

  enum class Phase : uint8_t {
    kOpen,
    kLastReply,  // The last reply is on its way; then kLingering.
    kLingering,  // Our side is shut; what the peer still sends is read away, lest a reset overtake
                 // the last reply.
    kClosing,    // Waits for the operations in flight.
  };

  enum class TimerKind : uint8_t { kQuiet, kPause, kSlow };

  struct Connection {
    io::Socket socket;
    Handle handle;
    Dialogue dialogue;
    std::string sending;  // Lent to the ring.
    Instant heard_at;
    Instant read_again_at;  // A slow reader's next look.
    Timer quiet_timer;      // The phase has lasted too long.
    Timer pause_timer;      // The dialogue's pause.
    Timer slow_timer;
    Phase phase = Phase::kOpen;
    bool receive_in_flight = false;
    bool receive_cancelled = false;
    bool send_in_flight = false;
  };

  struct Listener {
    io::Socket socket;
    uint16_t port = 0;
    bool accept_in_flight = false;
  };

  void Turn();
  void OnAccept(uint32_t index, const io::Completion& completion);
  void OpenConnection(uint32_t port_index, io::Socket socket);
  void OnReceive(Connection& connection, const io::Completion& completion);
  void OnSend(Connection& connection, const io::Completion& completion);
  void OnTimer(Timer& timer);
  void OnQuiet(Connection& connection);
  void OnInterval();
  void Settle(Connection& connection);
  void FollowWish(Connection& connection);
  void SendOutput(Connection& connection);
  void AdjustReceive(Connection& connection);
  void ReadSlowly(Connection& connection, size_t bytes);
  void Enter(Connection& connection, Phase phase);
  void LastSaid(Connection& connection);
  void Close(Connection& connection);
  void Free(Connection& connection);
  void BeginStop(Duration grace);
  void StopAccepting();
  bool Finished() const;

  const SinkOptions& options_;
  io::Io& io_;
  Now now_;
  Faults faults_;
  LineFile received_;
  Tally tally_;
  Sinking sinking_;
  TimerWheel timers_;
  Slab<Connection> connections_;
  std::vector<Listener> listeners_;
  std::vector<io::Completion> completions_;
  absl::Status failure_;
  Instant last_message_at_;
  Instant interval_at_;  // When the next second's work is due.
  uint64_t messages_at_interval_ = 0;
  uint64_t messages_at_turn_ = 0;
  uint64_t connections_refused_ = 0;
  Instant stop_at_ = kNever;   // From then on connections are told to end;
  Instant close_at_ = kNever;  // from then on they are closed.
  bool told_to_end_ = false;
};

}  // namespace sluice::tools
