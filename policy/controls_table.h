// The table of destination controls: exact domains, partial domains (".example.com"), and the
// default.
//
// Immutable once built: a change makes a new table, which is checked and then handed to every
// shard. The new one shares with the older what has not changed, so that a change of one entry
// among a million takes microseconds. Look-up order: the exact domain, then the longest partial
// domain that is a suffix of it at a label's border (".example.com" matches a.example.com and
// a.b.example.com, not example.com itself), then the default. A field that the matched entry leaves
// out is the default's, field by field; a recipient limit with its minutes is one field.
//
// Thread-safe for reading: shards share one table, and reading it takes no lock and no atomic.

#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/huge_pages.h"
#include "policy/controls.h"
#include "policy/fingerprint.h"
#include "policy/fingerprint_map.h"
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

// What lies between two tables. The default stays: all others inherit from it, so that where it
// changes a table is built anew.
struct ControlsChange {
  // Taken out first: an entry may be among both.
  std::vector<std::string> removed;  // Domains of entries that are there.
  std::vector<ControlsEntry> put;    // New ones, and what changed ones say now.
};

class ControlsTable {
 public:
  // Entries must be valid and distinct (controls_file.h checks that). Without a default entry, the
  // appliance's factory values of controls.h stand. Names are told apart by their fingerprints
  // (fingerprint.h) under `key`.
  explicit ControlsTable(const std::vector<ControlsEntry>& entries, uint64_t version = 0,
                         const FingerprintKey& key = FingerprintKey());

  // The older table, changed. Either may outlive the other. Takes time by the size of the change,
  // and of those since the last table that was built anew; where these have become more than a
  // 64th of the table, it builds one.
  ControlsTable(const ControlsTable& older, const ControlsChange& change, uint64_t version);

  // `domain` is normalised. Allocates nothing. The reference is good as long as the table.
  const Controls& Lookup(absl::string_view domain) const;

  // The different ones of all entries: what they name must be there.
  std::vector<TlsControls> DistinctTls() const;

  // Before any other thread has it.
  void set_version(uint64_t version) { version_ = version; }
  uint64_t version() const { return version_; }
  size_t size() const { return size_; }  // Without the default.
  size_t memory_bytes() const;           // With what it shares.

 private:
  // Numbers of whole controls, by their entries' names.
  struct Domains {
    FingerprintMap exact;
    FingerprintMap partial;          // With their leading dot.
    std::bitset<256> partial_sizes;  // That a partial domain may have, in bytes.

    FingerprintMap& MapOf(absl::string_view domain);
  };

  // What tables share. Written by nobody once it is built.
  struct Base;

  // What has changed since the base was built: to be asked first.
  struct Overlay {
    Domains domains;  // kRemoved, or an index of `controls`.
    std::vector<Controls> controls;
  };

  static constexpr uint32_t kRemoved = FingerprintMap::kValueMax;

  void Put(const ControlsEntry& entry);
  void Remove(absl::string_view domain);
  bool Has(absl::string_view domain) const;
  std::shared_ptr<const Base> Consolidated() const;
  const Controls* Find(FingerprintMap Domains::*map, const Fingerprint& fingerprint) const;
  const Controls& LookupPartial(absl::string_view domain) const;

  uint64_t version_;
  size_t size_ = 0;
  std::shared_ptr<const Base> base_;
  Overlay overlay_;
};

}  // namespace sluice::policy
