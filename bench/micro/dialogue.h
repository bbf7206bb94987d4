// The exchanges of SMTP messages over TCP, as sizes alone: one side of some connections, or both,
// on one ring, in each of the ways that are to be compared. All bytes that come are counted, and
// the program ends when some stand in the wrong place; what the kernel does not take is a refusal.
//
// Made, used and destroyed on one thread.

#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "bench/micro/candidate_ring.h"

namespace sluice {

// How a body is sent. Commands and replies go plainly in any case.
enum class SendWay {
  kPlain,               // One part, as the engine sends commands and small bodies.
  kGathered,            // Parts of 16 KiB, as the engine sends large bodies.
  kZeroCopy,            // One part, left where it is until the kernel says that it is done with it.
  kZeroCopyGathered,    // The same in parts.
  kZeroCopyRegistered,  // One part, in memory that the ring knows beforehand.
};

struct Choices {
  SendWay send = SendWay::kPlain;
  bool direct_descriptors = false;  // Sockets in the ring's own table, not in the process's.
  bool bundles = false;             // One completion for as many buffers as the bytes fill.
  Waiting waiting = Waiting::kForOne;
};

// When so much has come, so much is sent.
struct Step {
  size_t receive_bytes;
  size_t send_bytes;
};

// What a side does for a message: sends its opening, if it has one, then takes its steps.
struct Script {
  size_t opening_bytes;
  std::vector<Step> steps;
};

class Dialogue {
 public:
  explicit Dialogue(const Choices& choices);
  ~Dialogue();
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  // All sides before the first turn; their descriptors are closed by this object.
  void Add(int descriptor, Script script);
  void Begin();

  // Until each side with an opening has been through so many messages and all sends have ended, or
  // the kernel refused.
  void Talk(int messages_each);
  void AnswerUntilClosed();
  void ShutdownSends();

  const std::string& refusal() const { return ring_.refusal(); }
  uint64_t enters() const { return ring_.enters(); }
  uint64_t sends_copied() const { return sends_copied_; }  // Of those that asked for no copy.

 private:
  struct Side {
    int descriptor;
    Script script;
    size_t step = 0;
    size_t received = 0;  // Of this step.
    size_t sending = 0;   // Of the send in flight, not yet taken by the kernel.
    int messages_left = 0;
    msghdr header{};
    std::array<iovec, 65> parts{};
  };
  enum class Kind : uint64_t { kReceive, kSend };

  void RegisterBuffers();
  void Turn();
  void Aim(io_uring_sqe& sqe, size_t side, Kind kind);
  void ArmReceive(size_t side);
  void Send(size_t side, size_t bytes);
  void PrepareSend(io_uring_sqe& sqe, Side& side, size_t bytes);
  void Gather(Side& side, size_t bytes);

  void Take(const io_uring_cqe& cqe);
  void TakeReceive(size_t side, const io_uring_cqe& cqe);
  void TakeBuffers(Side& side, unsigned first, size_t bytes);
  void TakeSend(Side& side, const io_uring_cqe& cqe);
  void Received(size_t side);
  void EndMessage(size_t side);

  const Choices choices_;
  CandidateRing ring_;
  std::byte* text_;      // What everybody sends, from its beginning.
  std::byte* received_;  // The receive buffers.
  io_uring_buf_ring* buffers_;
  std::deque<Side> sides_;
  size_t talking_ = 0;
  size_t closed_ = 0;
  size_t sends_in_flight_ = 0;
  uint64_t sends_copied_ = 0;
};

// The two ends of a TCP connection over loopback: who connected, who accepted.
std::array<int, 2> LoopbackPair();

}  // namespace sluice
