// Which addresses of our sources are there. One that the machine does not have any more suspends
// its source for that family: mail goes by the other sources of the pool, or waits. It is looked
// for again at intervals, so that the source goes on by itself when the address is back.
//
// Who finds an address missing says so, and that it is back, on stderr. One shard owns it.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "engine/io/io.h"
#include "policy/sources.h"

namespace sluice::delivery {

class SourceStates {
 public:
  // How often what is missing is looked for.
  static constexpr Duration kLookInterval = std::chrono::seconds(5);

  // Lent. `tells`: it speaks for all shards.
  SourceStates(const policy::Sources& sources, io::Io& io, bool tells);

  // The source has an address of that family, and it is there.
  bool Usable(uint32_t source, Family family) const;
  // The source has an address, but none of them is there.
  bool Suspended(uint32_t source) const;
  // Binding to it has failed.
  void Missing(uint32_t source, Family family);

  bool any_missing() const { return missing_ > 0; }
  // Looks for what is missing, or for all. True: something has come back.
  bool Look();
  void LookForAll();

 private:
  // By Family::kIpv4, kIpv6.
  using MissingFamilies = std::array<bool, 2>;

  bool& Flag(uint32_t source, Family family);
  bool IsThere(uint32_t source, Family family);
  void Tell(uint32_t source, Family family, const char* what) const;

  const policy::Sources& sources_;
  io::Io& io_;
  const bool tells_;
  std::vector<MissingFamilies> states_;
  uint32_t missing_ = 0;
};

}  // namespace sluice::delivery
