#include "engine/smtp/address.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"

namespace sluice::smtp {
namespace {

constexpr size_t kDomainBytesMax = 255;  // RFC 5321 4.5.3.1.2

absl::Status Bad(absl::string_view reason) {
  return absl::InvalidArgumentError(reason);
}

bool IsGraphicOrSpace(unsigned char byte) {
  return byte >= 0x20 && byte <= 0x7e;
}

// RFC 5322 3.2.3.
bool IsAtomText(char byte) {
  return absl::ascii_isalnum(static_cast<unsigned char>(byte)) ||
         absl::string_view("!#$%&'*+-/=?^_`{|}~").find(byte) != absl::string_view::npos;
}

// Bytes of the quoted string at the front, with its quotes; 0: it is not well formed.
size_t QuotedLength(absl::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1;
    if (text[i] == '\\') ++i;
  }
  return 0;
}

// Bytes of the dot-string at the front; 0: it is not well formed.
size_t DotStringLength(absl::string_view text) {
  size_t length = 0;
  bool atom_begins = true;
  while (length < text.size() && (IsAtomText(text[length]) || text[length] == '.')) {
    const bool dot = text[length] == '.';
    if (dot && atom_begins) return 0;
    atom_begins = dot;
    ++length;
  }
  return atom_begins ? 0 : length;
}

// Bytes of the local part at the front: up to the '@' that ends it, or to the end of the path.
absl::StatusOr<size_t> LocalPartLength(absl::string_view text) {
  if (text.empty()) return Bad("no local part");
  const bool quoted = text[0] == '"';
  const size_t length = quoted ? QuotedLength(text) : DotStringLength(text);
  if (length == 0) return Bad(quoted ? "bad quoting" : "bad local part");
  if (length > kLocalPartBytesMax) return Bad("local part too long");
  if (length < text.size() && text[length] != '@') return Bad("bad local part");
  return length;
}

absl::StatusOr<std::string> ParseDomain(absl::string_view text) {
  if (text.size() > kDomainBytesMax) return Bad("domain too long");
  absl::StatusOr<std::string> domain = NormalizeDomain(text);
  if (!domain.ok()) return Bad(domain.status().message());
  return domain;
}

// Drops "@one,@two:" from the front.
absl::Status DropSourceRoute(absl::string_view& path) {
  while (absl::StartsWith(path, "@")) {
    const size_t end = path.find_first_of(",:");
    // The colons of an IPv6 literal would end it early: no host was ever routed by one.
    if (end == absl::string_view::npos) return Bad("source route without an end");
    absl::StatusOr<std::string> host = ParseDomain(path.substr(1, end - 1));
    if (!host.ok()) return host.status();
    const bool last = path[end] == ':';
    path.remove_prefix(end + 1);
    if (last) return absl::OkStatus();
    if (!absl::StartsWith(path, "@")) return Bad("bad source route");
  }
  return absl::OkStatus();
}

absl::StatusOr<Mailbox> ParseMailbox(absl::string_view text, absl::string_view local_domain) {
  absl::StatusOr<size_t> local_bytes = LocalPartLength(text);
  if (!local_bytes.ok()) return local_bytes.status();
  const absl::string_view local_part = text.substr(0, *local_bytes);
  absl::string_view domain = text.substr(*local_bytes);
  if (!domain.empty()) {
    domain.remove_prefix(1);
    absl::StatusOr<std::string> destination = ParseDomain(domain);
    if (!destination.ok()) return destination.status();
    if (absl::EndsWith(domain, ".")) domain.remove_suffix(1);
    return Mailbox{.address = absl::StrCat(local_part, "@", domain),
                   .destination = *std::move(destination)};
  }
  if (local_domain.empty() || !absl::EqualsIgnoreCase(local_part, "postmaster")) {
    return Bad("no domain");
  }
  absl::StatusOr<std::string> destination = ParseDomain(local_domain);
  if (!destination.ok()) return destination.status();
  return Mailbox{.address = absl::StrCat(local_part, "@", local_domain),
                 .destination = *std::move(destination)};
}

// Where the '>' of the path stands; one in a quoted local part does not end it.
size_t ClosingBracket(absl::string_view path) {
  bool quoted = false;
  for (size_t i = 1; i < path.size(); ++i) {
    if (quoted && path[i] == '\\') {
      ++i;
    } else if (path[i] == '"') {
      quoted = !quoted;
    } else if (path[i] == '>' && !quoted) {
      return i;
    }
  }
  return absl::string_view::npos;
}

absl::Status CheckBytes(absl::string_view path) {
  bool eight_bit = false;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x7f) {
      eight_bit = true;
    } else if (!IsGraphicOrSpace(byte)) {
      return Bad("control character");
    }
  }
  if (eight_bit) return absl::UnimplementedError("8-bit address, and SMTPUTF8 is not offered");
  return absl::OkStatus();
}

// The whole path, brackets included; moves `input` past it.
absl::StatusOr<absl::string_view> TakeBrackets(absl::string_view& input) {
  if (!absl::StartsWith(input, "<")) return Bad("address is not in angle brackets");
  const size_t end = ClosingBracket(input);
  const absl::string_view path = input.substr(0, end == input.npos ? end : end + 1);
  const absl::Status bytes = CheckBytes(path);
  if (!bytes.ok()) return bytes;
  if (end == input.npos) return Bad("no closing bracket");
  if (path.size() > kPathBytesMax) return Bad("path too long");
  input.remove_prefix(path.size());
  return path.substr(1, path.size() - 2);
}

enum class Null : uint8_t { kAllowed, kRefused };

absl::StatusOr<Mailbox> ParsePath(absl::string_view& input, Null null,
                                  absl::string_view local_domain) {
  absl::string_view rest = input;
  absl::StatusOr<absl::string_view> path = TakeBrackets(rest);
  if (!path.ok()) return path.status();
  if (path->empty() && null == Null::kAllowed) {
    input = rest;
    return Mailbox{};
  }
  if (path->empty()) return Bad("null address");
  const absl::Status route = DropSourceRoute(*path);
  if (!route.ok()) return route;
  absl::StatusOr<Mailbox> mailbox = ParseMailbox(*path, local_domain);
  if (mailbox.ok()) input = rest;
  return mailbox;
}

}  // namespace

absl::StatusOr<Mailbox> ParseReversePath(absl::string_view& input) {
  return ParsePath(input, Null::kAllowed, /*local_domain=*/"");
}

absl::StatusOr<Mailbox> ParseForwardPath(absl::string_view& input, absl::string_view local_domain) {
  return ParsePath(input, Null::kRefused, local_domain);
}

}  // namespace sluice::smtp
