// Reading a configuration file whole. Blocking: at start and at reload, never on a shard.

#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace sluice {

// A file that somebody wrote by hand or exported: 64 MiB is a destination table of a million
// entries.
inline constexpr size_t kTextFileBytesMax = 64 << 20;

// kNotFound: there is no such file. Other failures are named by the system's message.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace sluice
