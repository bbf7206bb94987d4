// Faults on demand: what the sink does wrong, where in the dialogue, and how often.
//
// Written as `stage=rcpt,reply=450 4.7.1 later,probability=0.1`: fields in any order, separated by
// commas. A comma in a reply's text is part of it unless a known field follows.
//
//   stage        connect (or greeting), helo, starttls, mail, rcpt, data, dot
//   action       reply (when `reply` is given, the default), drop, delay, close421, slow,
//   accept_drop reply        the whole reply line, 400-599, instead of the accepting one delay_ms
//   how long a delay waits before the dialogue goes on as if nothing was bytes_per_s  how fast a
//   slow reader reads from this stage on probability  0 to 1 (the default) times        at most so
//   often port         only at the port with this number domain       only for this recipient
//   domain: at rcpt, data and dot (there, the first recipient's)
//
// drop closes without a reply; at the dot the message has then not been taken. accept_drop, only at
// the dot, takes and counts the message and closes without a reply: the client must be in doubt.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/random.h"
#include "engine/base/time.h"

namespace sluice::tools {

enum class FaultStage : uint8_t { kConnect, kHelo, kStartTls, kMail, kRcpt, kData, kDot };
enum class FaultAction : uint8_t { kReply, kDrop, kDelay, kClose421, kSlow, kAcceptDrop };

struct Fault {
  std::string text;  // As it was given, for the report.
  FaultStage stage = FaultStage::kConnect;
  FaultAction action = FaultAction::kReply;
  std::string reply;  // kReply and kClose421.
  Duration delay{};
  uint32_t bytes_per_s = 0;
  double probability = 1;
  uint64_t times_max = UINT64_MAX;
  std::optional<uint16_t> port;
  std::string domain;  // Normalised; empty for all.
  uint64_t times = 0;  // How often it has been done.

  static absl::StatusOr<Fault> Parse(absl::string_view text);
};

// All faults of a sink. At each stage the first that matches and wins its throw is done.
class Faults {
 public:
  Faults(std::vector<Fault> faults, uint64_t seed) : faults_(std::move(faults)), random_(seed) {}

  // Null: all goes well. `domain` is normalised, empty where none is known yet.
  const Fault* Next(FaultStage stage, uint16_t port, absl::string_view domain);

  // Whether the sink must look for this stage at all.
  bool Any(FaultStage stage) const;
  const std::vector<Fault>& all() const { return faults_; }

 private:
  std::vector<Fault> faults_;
  Random random_;
};

}  // namespace sluice::tools
