// The part of sluice.toml about sources: the local addresses that mail can leave by, the pools of
// them, and the rules that choose.
//
//   [[source]]                       # At least one address; the name has no '='.
//   name = "vg1"
//   ipv4 = "192.0.2.10"
//   ipv6 = "2001:db8::10"
//   hostname = "vg1.example.net"
//
//   [[source_pool]]
//   name = "bulk"
//   sources = ["vg1", "vg2=3"]       # Weights from 1 to 1000; 1 where none stands.
//
//   [source_map]                     # Rules of policy/sources.h; each names a source or a pool.
//   "192.0.2.0/24" = "vg1"
//   "news@example.com" = "bulk"
//   default = "vg1"

#pragma once

#include "engine/toml_section.h"
#include "policy/sources.h"

namespace sluice {

// Into `sources`, which has none yet. With errors noted, it is not to be used.
void ReadSources(const TomlFile& file, TomlSection& root, policy::Sources& sources);

}  // namespace sluice
