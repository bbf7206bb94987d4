// One injector's session as the listening side keeps it: the dialogue, what has come in and is not
// consumed, what is being sent, and what is in flight.
//
//   phase       waits for                                  at most              next
//   kOpen       a command, body bytes, a promise           idle_timeout; DATA:  kFarewell, kEnding
//                                                          kDataWindow a window
//   kFarewell   its last reply to be taken                 kFarewellTimeout     kEnding
//   kEnding     the completions of what was cancelled      -                    kFree
//   kFree       a new connection                           -                    kOpen
//
// Plain state; intake.h owns and moves it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/check.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/channel.h"
#include "engine/delivery/home.h"
#include "engine/io/io.h"
#include "engine/smtp/server_session.h"

namespace sluice::intake {

enum class Phase : uint8_t { kFree, kOpen, kFarewell, kEnding };

inline bool MayFollow(Phase from, Phase to) {
  switch (from) {
    case Phase::kFree:
      return to == Phase::kOpen;
    case Phase::kOpen:
      return to == Phase::kFarewell || to == Phase::kEnding;
    case Phase::kFarewell:
      return to == Phase::kEnding;
    case Phase::kEnding:
      return to == Phase::kFree;
  }
  return false;
}

struct Session {
  Phase phase = Phase::kFree;
  io::Socket socket;
  SocketAddress client;
  std::shared_ptr<const tls::Context> tls;  // Null: STARTTLS is not offered.
  smtp::ServerSession dialogue;
  Timer timer;

  // The message that is arriving; null outside of DATA and after its end.
  delivery::Incoming* incoming = nullptr;
  uint64_t received_line_bytes = 0;  // Of the trace line that we put on top of it.
  uint64_t window_bytes = 0;         // That came in this window of DATA.
  ListHook held_hook;                // Among those whose message waits for the disk.
  bool awaiting_promise = false;     // The dot has come and is not answered.

  delivery::Channel channel;
  bool said_end = false;  // Under TLS: that no more comes.

  std::string pending;     // Input that the dialogue does not take yet.
  std::string sent_bytes;  // Lent to the send in flight.
  bool peer_finished = false;

  // In flight.
  bool receiving = false;
  bool receive_cancelled = false;  // Its last completion is awaited.
  bool sending = false;

  void Enter(Phase next) {
    CHECK(MayFollow(phase, next));
    phase = next;
  }
};

}  // namespace sluice::intake
