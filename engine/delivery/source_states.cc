#include "engine/delivery/source_states.h"

#include <cerrno>
#include <cstdio>

namespace sluice::delivery {
namespace {

constexpr Family kFamilies[] = {Family::kIpv4, Family::kIpv6};

}  // namespace

SourceStates::SourceStates(const policy::Sources& sources, io::Io& io, bool tells)
    : sources_(sources), io_(io), tells_(tells), states_(sources.sources()) {}

bool SourceStates::Usable(uint32_t source, Family family) const {
  if (!sources_.source(source).has(family)) return false;
  return !states_[source][family == Family::kIpv6];
}

bool SourceStates::Suspended(uint32_t source) const {
  return !Usable(source, Family::kIpv4) && !Usable(source, Family::kIpv6);
}

bool& SourceStates::Flag(uint32_t source, Family family) {
  return states_[source][family == Family::kIpv6];
}

void SourceStates::Missing(uint32_t source, Family family) {
  bool& missing = Flag(source, family);
  if (missing) return;
  missing = true;
  ++missing_;
  Tell(source, family, "is not an address of this machine; the source waits for it");
}

void SourceStates::LookForAll() {
  for (uint32_t source = 1; source < states_.size(); ++source) {
    for (const Family family : kFamilies) {
      if (!sources_.source(source).has(family)) continue;
      if (!IsThere(source, family)) Missing(source, family);
    }
  }
}

bool SourceStates::Look() {
  bool back = false;
  for (uint32_t source = 1; source < states_.size(); ++source) {
    for (const Family family : kFamilies) {
      bool& missing = Flag(source, family);
      if (!missing || !IsThere(source, family)) continue;
      missing = false;
      --missing_;
      back = true;
      Tell(source, family, "is back");
    }
  }
  return back;
}

// A socket that cannot be made for another reason says nothing of the address.
bool SourceStates::IsThere(uint32_t source, Family family) {
  const io::Socket socket = io_.OpenStream(family, sources_.source(source).AddressOf(family));
  if (!socket) return socket.descriptor != -EADDRNOTAVAIL;
  io_.Close(socket);
  return true;
}

void SourceStates::Tell(uint32_t source, Family family, const char* what) const {
  if (!tells_) return;
  const policy::Source& of = sources_.source(source);
  std::fprintf(stderr, "sluice: source %s: %s %s\n", of.name.c_str(),
               of.AddressOf(family).ToString().c_str(), what);
}

}  // namespace sluice::delivery
