// The seam for handshakes: a shard submits a flight and polls for what came of it.
//
// Behind it: threads (handshake_pool.h), or a test's. A job belongs to whoever has it, with its
// stream: no two threads hold one. A shard whose connection has ended meanwhile drops the job when
// it comes back.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/slab.h"
#include "engine/base/time.h"
#include "tls/session_cache.h"
#include "tls/stream.h"
#include "tls/trust_store.h"
#include "tls/verify.h"

namespace sluice::tls {

// What a client's handshakes with one host are begun with, and judged by.
struct ClientPlan {
  std::shared_ptr<const Context> context;
  std::string server_name;  // SNI; empty: none.
  References references;
  std::shared_ptr<const TrustStore> trust;  // Null: nobody is trusted.
  JudgeOptions judging;
  std::string session_key;  // SessionKey's text.
  bool resumes = true;      // False: a full handshake, whatever sessions there are.
};

struct HandshakeJob {
  // --- Whose it is.
  uint32_t shard = 0;
  Handle connection;
  uint8_t side = 0;  // The shard's own word for which of its tables the handle is of.

  // --- What is to be done.
  std::unique_ptr<Stream> stream;          // Null at the first flight: the pool makes it.
  std::shared_ptr<const ClientPlan> plan;  // Null: a server's,
  std::shared_ptr<const Context> server;   // with this.
  std::string input;                       // Ciphertext since the last flight.
  Instant deadline = kNever;               // Later, nothing is done any more.
  Duration spent{};                        // Processor time so far.

  // --- What came of it.
  Step step = Step::kNeedsInput;
  bool offered_session = false;  // To be resumed: a host that cannot has no worse TLS for it.
  bool timed_out = false;
  bool no_room = false;  // Memory or time have run out here.
  Verdict verdict;       // Of an established client.
};

class Handshaker {
 public:
  virtual ~Handshaker() = default;
  // Any thread. False: too many wait already; the job is dropped.
  virtual bool Submit(std::unique_ptr<HandshakeJob> job) = 0;
  // Appends the jobs of `shard` that are done.
  virtual void Poll(uint32_t shard, std::vector<std::unique_ptr<HandshakeJob>>& done) = 0;
  // Where the sessions go that a server gives after the handshake.
  virtual SessionCache& sessions() = 0;
};

}  // namespace sluice::tls
