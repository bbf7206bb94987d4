#include "policy/controls_file.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_section.h"
#include "policy/controls_values.h"
#include "policy/fingerprint.h"
#include "policy/fingerprint_map.h"
#include "policy/quoted.h"
#include "policy/tls_controls.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

// A comment begins at the line's first character, or after a blank. No value holds '#' or ';'.
absl::string_view WithoutComment(absl::string_view line) {
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '#' && line[i] != ';') continue;
    if (i == 0 || absl::ascii_isspace(static_cast<unsigned char>(line[i - 1]))) {
      return line.substr(0, i);
    }
  }
  return line;
}

// What stands between two section lines.
struct Section {
  int line = 0;
  bool is_default = false;
  bool usable = false;                         // Not a duplicate, and its name is a domain.
  std::array<int, kControlsKeys> key_lines{};  // 0: not given. With a bad value it is given too.
  bool tls_level_known = true;                 // What it gives, if it gives one, is a level.
  ControlsEntry entry;

  GivenKeys Given() const {
    GivenKeys given;
    for (size_t key = 0; key < key_lines.size(); ++key) given[key] = key_lines[key] > 0;
    return given;
  }
};

// A section's tls_broken_memory, to be looked at when all levels are known.
struct BrokenMemory {
  int line = 0;
  TlsEntry tls;
};

class Parser {
 public:
  Parser(const ControlsFileOptions& options, size_t sections)
      : profile_(options.profile), default_tls_level_(options.default_level) {
    entries_.reserve(sections);
    section_lines_.Reserve(sections);
  }

  void Line(absl::string_view line);
  ParsedControls Finish();

 private:
  void SectionLine(absl::string_view line);
  void KeyLine(absl::string_view line);
  void SetKey(const ControlsKeyRow& row, absl::string_view value);
  void EndSection();
  void NoteTlsLevel();
  void CheckBrokenMemories();
  void Error(int line, absl::string_view text) { errors_.push_back({line, std::string(text)}); }

  const ControlsProfile profile_;
  const FingerprintKey key_;
  int line_ = 0;
  std::optional<Section> section_;
  FingerprintMap section_lines_;  // By name: of a million sections no name is kept twice.
  std::optional<TlsLevel> default_tls_level_;  // Empty: its line is in error.
  std::vector<BrokenMemory> broken_memories_;
  std::vector<ControlsEntry> entries_;
  std::vector<FileError> errors_;
};

void Parser::Line(absl::string_view line) {
  ++line_;
  line = absl::StripAsciiWhitespace(WithoutComment(line));
  if (line.empty()) return;
  if (line.front() == '[') {
    SectionLine(line);
  } else {
    KeyLine(line);
  }
}

ParsedControls Parser::Finish() {
  EndSection();
  CheckBrokenMemories();
  // A section's missing keys were noticed at its end, and belong to its beginning.
  std::stable_sort(errors_.begin(), errors_.end(),
                   [](const FileError& a, const FileError& b) { return a.line < b.line; });
  return {std::move(entries_), std::move(errors_)};
}

// The lines of a section that is in error are still looked at, for their own errors.
void Parser::SectionLine(absl::string_view line) {
  EndSection();
  section_.emplace();
  section_->line = line_;
  if (!absl::ConsumeSuffix(&line, "]")) {
    Error(line_, absl::StrCat(Quoted(line), " begins a section but does not end with ']'"));
    return;
  }
  const absl::string_view name = absl::StripAsciiWhitespace(line.substr(1));
  absl::StatusOr<std::string> domain = ParseSectionName(name);
  if (!domain.ok()) {
    Error(line_, absl::StrCat("section ", Quoted(name), ": ", domain.status().message()));
    return;
  }
  section_->is_default = domain->empty();
  const Fingerprint fingerprint = FingerprintOf(*domain, key_);
  if (const std::optional<uint32_t> first = section_lines_.Find(fingerprint)) {
    Error(line_, absl::StrCat("section ", Quoted(name), " stands twice, first at line ", *first));
    return;
  }
  section_lines_.Put(fingerprint, static_cast<uint32_t>(line_));
  section_->usable = true;
  section_->entry.domain = *std::move(domain);
  section_->entry.line = line_;
}

void Parser::KeyLine(absl::string_view line) {
  size_t separator = 0;
  while (separator < line.size() && line[separator] != '=' && line[separator] != ':') ++separator;
  if (separator == line.size()) {
    Error(line_, absl::StrCat(Quoted(line), " is neither [section] nor key = value"));
    return;
  }
  const absl::string_view name = absl::StripAsciiWhitespace(line.substr(0, separator));
  const ControlsKeyRow* row = FindControlsKey(name);
  if (!section_) {
    Error(line_, absl::StrCat(Quoted(name), " stands before the first section"));
  } else if (row == nullptr) {
    Error(line_, absl::StrCat("unknown key ", Quoted(name)));
  } else {
    SetKey(*row, absl::StripAsciiWhitespace(line.substr(separator + 1)));
  }
}

void Parser::SetKey(const ControlsKeyRow& row, absl::string_view value) {
  int& key_line = section_->key_lines[static_cast<int>(row.key)];
  if (key_line > 0) {
    Error(line_, absl::StrCat(row.name, " is given twice, first at line ", key_line));
    return;
  }
  key_line = line_;
  const bool place_known = section_->usable || section_->is_default;
  const absl::Status place = CheckPlace(row, section_->is_default);
  if (place_known && !place.ok()) {
    Error(line_, place.message());
    return;
  }
  if (row.key == ControlsKey::kTableTls && section_->is_default &&
      absl::EqualsIgnoreCase(value, "default")) {
    Error(line_,
          absl::StrCat(row.name, ": there is nothing to inherit in [DEFAULT]; leave it out"));
    return;
  }
  const absl::Status set = SetControlsValue(row, value, profile_, section_->entry);
  if (set.ok()) return;
  Error(line_, absl::StrCat(row.name, " = ", Quoted(value), ": ", set.message()));
  if (row.key == ControlsKey::kTableTls) section_->tls_level_known = false;
}

void Parser::EndSection() {
  if (!section_) return;
  for (const KeyNeed& need : UnmetNeeds(section_->Given(), section_->is_default)) {
    Error(section_->line, NeedText(need));
  }
  NoteTlsLevel();
  if (section_->usable) entries_.push_back(std::move(section_->entry));
  section_.reset();
}

void Parser::NoteTlsLevel() {
  const TlsEntry& tls = section_->entry.tls;
  if (section_->is_default && section_->usable) {
    default_tls_level_ = tls.level.value_or(TlsLevel::kOff);
    if (!section_->tls_level_known) default_tls_level_.reset();
  }
  if (!tls.broken_memory || !section_->tls_level_known) return;
  const int line = section_->key_lines[static_cast<int>(ControlsKey::kTlsBrokenMemory)];
  broken_memories_.push_back({line, tls});
}

void Parser::CheckBrokenMemories() {
  for (const BrokenMemory& memory : broken_memories_) {
    if (!memory.tls.level && !default_tls_level_) continue;
    const TlsLevel default_level = default_tls_level_.value_or(TlsLevel::kOff);
    const absl::Status heeded = CheckBrokenMemory(memory.tls, default_level);
    if (!heeded.ok()) Error(memory.line, heeded.message());
  }
}

// How many sections a text has room for: so many lines begin one. A section takes two lines at
// least where it says something; what a text of nothing but section lines needs beyond that grows.
size_t SectionsIn(absl::string_view text) {
  size_t sections = text.empty() ? 0 : 1;
  for (size_t at = text.find("\n["); at != absl::string_view::npos; at = text.find("\n[", at + 1)) {
    ++sections;
  }
  return std::min(sections, text.size() / 32);
}

}  // namespace

ParsedControls ParseControlsFile(absl::string_view text, const ControlsFileOptions& options) {
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");  // The byte order mark that some editors leave.
  Parser parser(options, SectionsIn(text));
  while (!text.empty()) {
    const size_t end = text.find('\n');
    parser.Line(text.substr(0, end));
    text.remove_prefix(end == absl::string_view::npos ? text.size() : end + 1);
  }
  return parser.Finish();
}

}  // namespace sluice::policy
