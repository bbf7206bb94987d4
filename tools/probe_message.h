// The test message that sluice-load makes and sluice-sink checks: whether it arrived whole, and
// once.
//
//   X-Sluice-Probe: id=<20 hex>; bytes=<n>; xxh3=<16 hex>
//
// is a line of its header section. `bytes` and the XXH3-64 cover everything after the empty line
// that ends the header section, without stuffing. Relays may put lines on top, the rest must stay
// as it was.

#pragma once

#include <xxhash.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

inline constexpr size_t kProbeIdDigits = 20;

// Unlike in every other run: `run` is of the run, `number` counts its messages (48 bits).
struct ProbeId {
  uint32_t run = 0;
  uint64_t number = 0;

  bool operator==(const ProbeId&) const = default;

  std::array<char, kProbeIdDigits> ToDigits() const;
  std::string ToString() const;
  static std::optional<ProbeId> Parse(absl::string_view digits);
};

struct Probe {
  ProbeId id;
  uint64_t body_bytes = 0;
  uint64_t body_hash = 0;  // XXH3-64.

  bool operator==(const Probe&) const = default;

  std::string ToHeaderLine() const;  // With CRLF.
  // A whole line without CRLF. Nothing when it is another header field, or not in this form.
  static std::optional<Probe> ParseHeaderLine(absl::string_view line);
};

// Reads one message after another as DATA carries it (stuffed, without the final dot), in pieces of
// any size, and keeps no more than the front of one header line.
class ProbeReader {
 public:
  enum class Verdict : uint8_t {
    kIntact,
    kDamaged,  // The length or the hash is another.
    kNoProbe,  // No probe line in the header section.
  };

  ProbeReader();
  ~ProbeReader();
  ProbeReader(const ProbeReader&) = delete;
  ProbeReader& operator=(const ProbeReader&) = delete;

  void Begin();
  void Take(absl::string_view piece);
  Verdict Finish();  // Then Begin again.

  // Of the probe line; nothing before it was read.
  const std::optional<Probe>& probe() const { return probe_; }

 private:
  static constexpr size_t kLineBytesMax = 160;  // A probe line has at most 96.

  void TakeHeader(absl::string_view& piece);
  void EndHeaderLine();
  void TakeBody(absl::string_view piece);
  void Hash(absl::string_view unstuffed);

  bool in_header_ = true;
  bool at_line_start_ = true;  // In the body: the next byte follows CRLF.
  std::array<char, kLineBytesMax> line_;
  size_t line_bytes_ = 0;  // May exceed what line_ keeps.
  std::optional<Probe> probe_;
  uint64_t body_bytes_ = 0;
  XXH3_state_t* hash_;  // Owned; the library asks for its own alignment.
};

}  // namespace sluice::tools
