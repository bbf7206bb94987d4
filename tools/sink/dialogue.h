// The sink's side of one connection, without I/O: a server session with faults worked in, and
// counted.
//
// The owner hands in bytes, sends what gathers in output(), and after each call looks at wish().
// After STARTTLS both are ciphertext.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/random.h"
#include "engine/base/time.h"
#include "engine/smtp/server_session.h"
#include "tools/line_file.h"
#include "tools/probe_message.h"
#include "tools/secure_bytes.h"
#include "tools/sink/faults.h"
#include "tools/sink/options.h"
#include "tools/sink/tally.h"

namespace sluice::tools {

// What all dialogues of a sink share; outlives them.
struct Sinking {
  const SinkOptions& options;
  Faults& faults;
  Tally& tally;
  LineFile& received;
  std::optional<Instant> first_data_at;  // Of the first DATA.
  uint64_t refused_by_session = 0;  // Messages whose data the session itself did not take.
  // Of which handshakes give a ticket; drawn apart from the faults', lest one go with the other.
  Random tickets = Random(~options.seed);
};

class Dialogue {
 public:
  enum class Wish : uint8_t {
    kGoOn,
    kPause,  // Call Resume after pause(). What comes meanwhile is held.
    kEnd,    // Send output(), then close. The connection counts no more.
    kDrop,   // Send output(), which answers what came before, then close at once. The connection
             // counts no more.
  };

  struct Start {
    uint32_t port_index = 0;
    uint16_t port = 0;
    SocketAddress client;
  };

  void Begin(Sinking& sinking, const Start& start);

  void Take(absl::string_view bytes, Instant now);
  void Resume(Instant now);
  void TimedOut(Instant now);  // 421, then kEnd.
  void ShutDown(Instant now);  // The same, since the sink is going down.
  void Lost();                 // The connection is gone. Nothing but Begin may follow.

  Wish wish() const { return wish_; }
  Duration pause() const { return pause_; }
  uint32_t bytes_per_s() const { return bytes_per_s_; }  // A slow reader's pace; 0: as it comes.
  size_t held_bytes() const { return held_.size(); }
  std::string& output() { return output_; }  // The owner takes from it.

 private:
  void TakeSecure(absl::string_view ciphertext, Instant now);
  void TakeText(absl::string_view text, Instant now);
  void Run(absl::string_view input, Instant now);
  bool Step(absl::string_view& input, Instant now);
  bool GiveUpPause(Instant now);
  bool HeloIsNext(absl::string_view input) const;
  void Reach(FaultStage stage, absl::string_view domain, Instant now);
  void Suffer(const Fault& fault);
  void RefuseAt(FaultStage stage, absl::string_view reply);
  void GoOn(FaultStage stage);
  void TakeMessage(bool answered);
  void Stop(Wish wish);
  void Leave();
  void GatherOutput();
  void StartTls();
  void Say(absl::string_view text);
  bool ended() const { return wish_ == Wish::kEnd || wish_ == Wish::kDrop; }
  absl::string_view MessageDomain() const;

  Sinking* sinking_ = nullptr;
  Start start_;
  smtp::ServerSession session_;
  smtp::ServerSession::Options session_options_;
  SecureBytes secure_;
  Tally::Connection counted_;
  ProbeReader probe_;
  std::string held_;
  std::string output_;
  Wish wish_ = Wish::kDrop;
  FaultStage paused_at_ = FaultStage::kConnect;
  Duration pause_{};
  uint32_t bytes_per_s_ = 0;
  bool helo_passed_ = false;   // The HELO or EHLO in front has had its chance of a fault.
  bool skip_helo_ = false;     // It was refused: the session is not to see it.
  bool secures_next_ = false;  // STARTTLS was accepted; its 220 is still to be gathered.
};

}  // namespace sluice::tools
