// Asking for a verdict in a line: JudgeAt(kNow, {&leaf, &ca}, {&root}).

#pragma once

#include <vector>

#include "tests/tls/certificate_maker.h"

namespace sluice::tls {

inline constexpr char kHost[] = "mx.example.net";

inline Verdict JudgeAt(WallTime now, const std::vector<const Made*>& sent,
                       const std::vector<const Made*>& trusted) {
  return Judge(ChainOf(sent), {.domain = kHost}, Trusting(trusted), now);
}

inline Verdict JudgeNow(const std::vector<const Made*>& sent,
                        const std::vector<const Made*>& trusted) {
  return JudgeAt(kNow, sent, trusted);
}

inline CertificateFault FaultNow(const std::vector<const Made*>& sent,
                                 const std::vector<const Made*>& trusted) {
  return JudgeNow(sent, trusted).fault;
}

inline WallTime At(EpochSeconds seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

}  // namespace sluice::tls
