#include "tools/sluice/handshake_desk.h"

#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/io/clock.h"

namespace sluice::tools {

HandshakeDesk::HandshakeDesk()
    : pool_({.threads = 1,
             .now = [] { return io::ReadClock().instant; },
             .wall = [] { return io::ReadClock().wall; },
             .thread_time = [] { return io::ReadThreadTime(); },
             .wakers = {[this] { done_.release(); }}}) {}

std::unique_ptr<tls::HandshakeJob> HandshakeDesk::Work(std::unique_ptr<tls::HandshakeJob> job) {
  const bool taken = pool_.Submit(std::move(job));
  CHECK(taken);  // It is the only one.
  std::vector<std::unique_ptr<tls::HandshakeJob>> done;
  done_.acquire();
  pool_.Poll(0, done);
  CHECK(done.size() == 1);
  return std::move(done.front());
}

}  // namespace sluice::tools
