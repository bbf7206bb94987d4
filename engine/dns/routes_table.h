// /etc/sluice/routes: where mail goes regardless of MX records.
//
//   example.com      mx1.example.net, mx2.example.net:2525/pri=10
//   .example.org     192.0.2.25
//   ALL              [2001:db8::25]:26
//
// One destination a line, then hosts separated by commas; `#` begins a comment. Look-up order:
// exact domain, longest partial (".example.org", subdomains only), ALL. Immutable once built.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::dns {

struct TableHost {
  std::string name;  // A host name, or an IP literal's canonical text.
  bool literal = false;
  uint16_t port = 25;
  uint16_t preference = 0;  // /pri=N

  bool operator==(const TableHost&) const = default;
};

struct RoutesError {
  int line = 0;
  std::string text;
};

class RoutesTable {
 public:
  // Hosts that name no port get `default_port`. All errors are collected; with errors the table is
  // not to be used.
  static RoutesTable Parse(absl::string_view text, uint16_t default_port,
                           std::vector<RoutesError>& errors);

  // The hosts for a normalised domain or an address literal, or null: resolve its MX records. An
  // address literal is found by itself or by ALL.
  const std::vector<TableHost>* Lookup(absl::string_view domain) const;
  size_t size() const { return exact_.size() + partial_.size() + (all_.empty() ? 0 : 1); }

 private:
  // `destination` as it stands in the file; `hosts` were read from the same line.
  absl::Status Add(absl::string_view destination, std::vector<TableHost> hosts);

  absl::flat_hash_map<std::string, std::vector<TableHost>> exact_;
  absl::flat_hash_map<std::string, std::vector<TableHost>> partial_;  // With the leading dot.
  std::vector<TableHost> all_;
};

}  // namespace sluice::dns
