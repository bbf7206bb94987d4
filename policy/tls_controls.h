// The part of a destination's controls that is about TLS. Plain values, after inheritance.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/base/time.h"
#include "policy/name.h"
#include "policy/tls_level.h"

namespace sluice::policy {

enum class TlsVersion : uint8_t { k12, k13 };

struct TlsControls {
  TlsLevel level = TlsLevel::kOff;           // table_tls.
  TlsVersion version_min = TlsVersion::k12;  // tls_min.
  bool sni = true;                          // tls_sni: the host is told by which name it is sought.
  bool accept_cn = false;                   // tls_accept_cn: a name in the subject will do.
  bool alert_where_required_fails = false;  // send_tls_req_alert; the same for all destinations.
  Duration broken_memory{};                 // tls_broken_memory; 0: failures are not remembered.
  Name ca_file;                             // tls_ca_file; empty: the engine's.
  Name certificate;                         // Empty: none is shown.

  bool operator==(const TlsControls&) const = default;
};

// What a section of the table says of it, and nothing that it leaves out.
struct TlsEntry {
  std::optional<TlsLevel> level;
  std::optional<TlsVersion> version_min;
  std::optional<bool> sni;
  std::optional<bool> accept_cn;
  std::optional<bool> alert_where_required_fails;
  std::optional<Duration> broken_memory;
  std::optional<std::string> ca_file;
  std::optional<std::string> certificate;

  bool operator==(const TlsEntry&) const = default;
};

// Field by field: what the entry says, else what it inherits. A level that does not prefer TLS
// remembers nothing, also where it would inherit a memory.
TlsControls InheritTls(const TlsEntry& entry, TlsControls controls);

}  // namespace sluice::policy
