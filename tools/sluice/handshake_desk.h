// The engine's handshake pool with one thread, for a program that waits for each flight.

#pragma once

#include <memory>
#include <semaphore>

#include "tls/handshake_pool.h"

namespace sluice::tools {

class HandshakeDesk {
 public:
  HandshakeDesk();

  // Hands in a flight, and waits until it is done.
  std::unique_ptr<tls::HandshakeJob> Work(std::unique_ptr<tls::HandshakeJob> job);

 private:
  std::binary_semaphore done_{0};
  tls::HandshakePool pool_;
};

}  // namespace sluice::tools
