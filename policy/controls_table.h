// The table of destination controls: exact domains, partial domains (".example.com"), and the
// default.
//
// Immutable once built: a change builds a new table, which is checked whole and then handed to
// every shard. Look-up order: the exact domain, then the longest partial domain that is a suffix of
// it at a label's border (".example.com" matches a.example.com and a.b.example.com, not example.com
// itself), then the default. A field that the matched entry leaves out is the default's, field by
// field; a recipient limit with its minutes is one field.
//
// Thread-safe for reading: shards share one table, and reading it takes no lock and no atomic.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/controls.h"
#include "policy/ip_preference.h"
#include "policy/tls_controls.h"

namespace sluice::policy {

// One section of the file: what it says, and nothing that it leaves out.
struct ControlsEntry {
  std::string domain;  // Normalised; ".example.com" for a partial one; empty for the default.
  std::optional<uint32_t> connections_max;
  std::optional<uint32_t> messages_per_connection_max;
  std::optional<uint32_t> recipients_max;
  std::optional<uint32_t> recipient_minutes;
  std::optional<bool> limits_each_address;
  std::optional<bool> limits_each_source;
  std::optional<uint32_t> system_connections_max;
  std::optional<uint32_t> system_recipients_max;
  std::optional<uint32_t> system_recipient_minutes;
  std::optional<IpPreference> ip_preference;
  TlsEntry tls;
  std::optional<bool> tag_sender;
  std::optional<std::string> bounce_profile;
  int line = 0;  // Of its section in the file; 0: made otherwise.

  bool operator==(const ControlsEntry&) const = default;
};

class ControlsTable {
 public:
  // Entries must be valid and distinct (controls_file.h checks that). Without a default entry, the
  // appliance's factory values of controls.h stand.
  explicit ControlsTable(std::vector<ControlsEntry> entries, uint64_t version = 0);

  // `domain` is normalised. Allocates nothing. The reference is good as long as the table.
  const Controls& Lookup(absl::string_view domain) const;

  // The different ones of all entries: what they name must be there.
  std::vector<TlsControls> DistinctTls() const;

  uint64_t version() const { return version_; }
  size_t size() const { return exact_.size() + partial_.size(); }  // Without the default.

 private:
  // Whole controls, with what they inherit, beside their name: a look-up touches few lines of
  // cache.
  using ControlsMap = absl::flat_hash_map<std::string, Controls>;

  const Controls& LookupPartial(absl::string_view domain) const;

  uint64_t version_;
  Controls default_;
  ControlsMap exact_;
  ControlsMap partial_;  // With their leading dot.
};

}  // namespace sluice::policy
