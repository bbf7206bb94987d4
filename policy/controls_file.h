// destinations.ini, the import/export form of the appliance's destination controls table.
//
//   [DEFAULT]
//   max_host_concurrency = 500
//   max_messages_per_connection = 50
//
//   [.freemail.example]
//   max_host_concurrency = 20
//   recipient_minutes = 1
//   recipient_limit = 180
//   limit_type = host
//   limit_apply = system
//
// Keys, words and section names in any case; both spellings of an option (concurrency_limit for
// max_host_concurrency, …); `#` and `;` begin a comment. A section is named by a domain, by a
// partial domain with its leading dot, or by an IP address, which stands for that address literal.
// What an entry leaves out it inherits; what [DEFAULT] leaves out has its factory value.
//
// limit_type and limit_apply say what a limit is of: the whole destination (host, system), each
// address of its hosts (MXIP), each of our sources (VG), or each pair of these. system_concurrency
// and system_recipient_limit with system_recipient_minutes, which are ours, are limits of the whole
// beside those. bounce_profile names a profile of the configuration; knowing it is the caller's,
// and "default" in any case is as left out: the Default profile.
//
// Keys of ours beside the appliance's, in any section: tls_min (1.2 or 1.3), tls_sni and
// tls_accept_cn (on or off), tls_ca_file (a path, relative to the table's file; reading it is the
// caller's, as is knowing the names of certificates), tls_broken_memory (0, or a time such as 30m),
// and certificate, which the appliance has in [DEFAULT] only. table_tls = default is as left out. A
// section may give tls_broken_memory only where its level, after inheritance, is on or on_verify.
//
// The limits are dependent on each other as on the appliance: max_host_concurrency in a domain's
// section needs limit_type and limit_apply, recipient_limit needs recipient_minutes and these two,
// and recipient_minutes alone is an error; system_recipient_limit and its minutes need each other.
// A dane_option other than none is an error, since this version does not enforce it. All errors are
// collected, none is fatal to the others.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"
#include "policy/tls_level.h"

namespace sluice::policy {

struct FileError {
  int line = 0;
  std::string text;
};

struct ParsedControls {
  std::vector<ControlsEntry> entries;
  std::vector<FileError>
      errors;  // In the order of their lines. Not empty: the entries are not to be used.
};

struct ControlsFileOptions {
  ControlsProfile profile = ControlsProfile::kCompatible;
  // Of the default entry that goes on where the text has no [DEFAULT]; a file that stands alone has
  // the factory's.
  TlsLevel default_level = TlsLevel::kOff;
};

// `text` is the file's content. Pure: reading the file is the caller's.
ParsedControls ParseControlsFile(absl::string_view text, const ControlsFileOptions& options = {});

}  // namespace sluice::policy
