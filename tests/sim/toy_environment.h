// What a shard wants of tls::Environment, where the streams are toys: contexts that nobody looks
// into, made once in a process.

#pragma once

#include <memory>

#include "tls/environment.h"

namespace sluice::sim {

// For every level and version; a listener's certificate is called "toy".
std::shared_ptr<const tls::Environment> ToyEnvironment();

}  // namespace sluice::sim
