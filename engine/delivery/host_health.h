// What the addresses of a destination's hosts did lately, as seen from each of our sources: after
// two failures in a row an address is left out for a while, so that one dead host of two does not
// take half of the connections (P43); short, and never the last one left (O8). A receiver that
// blocks one of our addresses has not failed for the others (Z3).

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/base/time.h"

namespace sluice::delivery {

class HostHealth {
 public:
  // Addresses that failed and are remembered; what fails beyond is not.
  static constexpr size_t kAddressesMax = 16;

  // An address as one source sees it.
  struct Way {
    SocketAddress address;
    uint32_t source = 0;
    bool operator==(const Way&) const = default;
  };

  // Twice in a row: it is avoided. A host that takes sessions and drops them under the first
  // message has `failed_twice` at once.
  void Failed(const Way& way, bool failed_twice, Instant now);
  void Works(const Way& way);
  bool Avoided(const Way& way, Instant now) const { return now < AvoidedUntil(way); }
  Instant AvoidedUntil(const Way& way) const;  // In the past: it is not.

  // TLS there was lost, and a level that only prefers it does without until then.
  void TlsBroken(const Way& way, Instant until, Instant now);
  std::vector<SocketAddress> TlsBrokenOf(uint32_t source, Instant now) const;

  // When the last broken TLS may be forgotten; in the past: there is none.
  Instant remembered_until() const;
  void Clear() { ways_.clear(); }

 private:
  struct Record {
    Way way;
    uint32_t failures = 0;
    Instant avoid_until{};
    Instant tls_broken_until{};
  };

  Record* Find(const Way& way);
  const Record* Find(const Way& way) const;
  Record* FindOrAdd(const Way& way, Instant now);

  std::vector<Record> ways_;
};

}  // namespace sluice::delivery
