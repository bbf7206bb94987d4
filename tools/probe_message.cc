#include "tools/probe_message.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kField = "X-Sluice-Probe:";
constexpr size_t kRunDigits = 8;

void PutHex(uint64_t value, size_t digits, char* into) {
  for (size_t i = digits; i > 0; --i) {
    into[i - 1] = "0123456789abcdef"[value & 15];
    value >>= 4;
  }
}

// Exactly `digits` lower-case hexadecimal digits.
std::optional<uint64_t> TakeHex(absl::string_view& text, size_t digits) {
  if (text.size() < digits) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text.substr(0, digits)) {
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<uint64_t>(c - 'a' + 10);
    } else {
      return std::nullopt;
    }
  }
  text.remove_prefix(digits);
  return value;
}

}  // namespace

std::array<char, kProbeIdDigits> ProbeId::ToDigits() const {
  CHECK(number < uint64_t{1} << 48);
  std::array<char, kProbeIdDigits> digits;
  PutHex(run, kRunDigits, digits.data());
  PutHex(number, kProbeIdDigits - kRunDigits, digits.data() + kRunDigits);
  return digits;
}

std::string ProbeId::ToString() const {
  const auto digits = ToDigits();
  return std::string(digits.data(), digits.size());
}

std::optional<ProbeId> ProbeId::Parse(absl::string_view digits) {
  if (digits.size() != kProbeIdDigits) return std::nullopt;
  const auto run = TakeHex(digits, kRunDigits);
  const auto number = run ? TakeHex(digits, digits.size()) : std::nullopt;
  if (!number) return std::nullopt;
  return ProbeId{.run = static_cast<uint32_t>(*run), .number = *number};
}

std::string Probe::ToHeaderLine() const {
  char hash[16];
  PutHex(body_hash, sizeof(hash), hash);
  return absl::StrCat(kField, " id=", id.ToString(), "; bytes=", body_bytes,
                      "; xxh3=", absl::string_view(hash, sizeof(hash)), "\r\n");
}

std::optional<Probe> Probe::ParseHeaderLine(absl::string_view line) {
  if (!absl::StartsWithIgnoreCase(line, kField)) return std::nullopt;
  line.remove_prefix(kField.size());
  if (!absl::ConsumePrefix(&line, " id=")) return std::nullopt;
  const auto id = ProbeId::Parse(line.substr(0, kProbeIdDigits));
  if (!id) return std::nullopt;
  line.remove_prefix(kProbeIdDigits);
  if (!absl::ConsumePrefix(&line, "; bytes=")) return std::nullopt;
  const absl::string_view bytes_text = line.substr(0, line.find(';'));
  uint64_t bytes = 0;
  if (!absl::SimpleAtoi(bytes_text, &bytes)) return std::nullopt;
  line.remove_prefix(bytes_text.size());
  if (!absl::ConsumePrefix(&line, "; xxh3=")) return std::nullopt;
  const auto hash = TakeHex(line, 16);
  if (!hash || !line.empty()) return std::nullopt;
  return Probe{.id = *id, .body_bytes = bytes, .body_hash = *hash};
}

ProbeReader::ProbeReader() : hash_(XXH3_createState()) {
  CHECK(hash_ != nullptr);
  Begin();
}

ProbeReader::~ProbeReader() {
  XXH3_freeState(hash_);
}

void ProbeReader::Begin() {
  in_header_ = true;
  at_line_start_ = true;
  line_bytes_ = 0;
  probe_.reset();
  body_bytes_ = 0;
  CHECK(XXH3_64bits_reset(hash_) == XXH_OK);
}

void ProbeReader::Take(absl::string_view piece) {
  while (in_header_ && !piece.empty()) TakeHeader(piece);
  if (!piece.empty()) TakeBody(piece);
}

ProbeReader::Verdict ProbeReader::Finish() {
  if (!probe_) return Verdict::kNoProbe;
  if (probe_->body_bytes != body_bytes_) return Verdict::kDamaged;
  if (probe_->body_hash != XXH3_64bits_digest(hash_)) return Verdict::kDamaged;
  return Verdict::kIntact;
}

void ProbeReader::TakeHeader(absl::string_view& piece) {
  const size_t line_end = piece.find('\n');
  const absl::string_view part = piece.substr(0, line_end);
  if (line_bytes_ < line_.size()) {
    const size_t kept = std::min(part.size(), line_.size() - line_bytes_);
    std::memcpy(line_.data() + line_bytes_, part.data(), kept);
  }
  line_bytes_ += part.size();
  piece.remove_prefix(part.size());
  if (piece.empty()) return;
  piece.remove_prefix(1);
  EndHeaderLine();
}

void ProbeReader::EndHeaderLine() {
  absl::string_view line(line_.data(), std::min(line_bytes_, line_.size()));
  line = absl::StripSuffix(line, "\r");
  if (line.empty()) in_header_ = false;
  if (!probe_ && line_bytes_ <= line_.size()) probe_ = Probe::ParseHeaderLine(line);
  line_bytes_ = 0;
}

void ProbeReader::TakeBody(absl::string_view piece) {
  if (at_line_start_ && piece[0] == '.') piece.remove_prefix(1);
  at_line_start_ = piece.empty() ? false : piece.back() == '\n';
  // Looks for dots, which are rare and found by memchr, rather than for the ends of lines.
  size_t hashed = 0;
  size_t dot = piece.find('.', 1);
  while (dot != absl::string_view::npos) {
    if (piece[dot - 1] == '\n') {
      Hash(piece.substr(hashed, dot - hashed));
      hashed = dot + 1;
    }
    dot = piece.find('.', dot + 1);
  }
  Hash(piece.substr(hashed));
}

void ProbeReader::Hash(absl::string_view unstuffed) {
  body_bytes_ += unstuffed.size();
  CHECK(XXH3_64bits_update(hash_, unstuffed.data(), unstuffed.size()) == XXH_OK);
}

}  // namespace sluice::tools
