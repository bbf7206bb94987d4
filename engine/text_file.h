// Reading a configuration file whole. Blocking: at start and at reload, never on a shard.

#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace sluice {

// A file that somebody wrote by hand or exported: a destination table of a million entries takes 60
// to 300 MiB, by how much they say.
inline constexpr size_t kTextFileBytesMax = 512 << 20;

// kNotFound: there is no such file. Other failures are named by the system's message.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace sluice
