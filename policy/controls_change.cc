#include "policy/controls_change.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/controls.h"
#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"
#include "policy/controls_values.h"
#include "policy/quoted.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

using Entries = std::vector<ControlsEntry>;

// What the appliance's dialogue offers.
constexpr uint32_t kRecipientMinutesOffered = 60;

// A recipient limit and its minutes, which are one field in two keys.
struct RecipientPair {
  ControlsKey limit;
  ControlsKey minutes;
  std::optional<uint32_t> ControlsEntry::*limit_field;
  std::optional<uint32_t> ControlsEntry::*minutes_field;
};

constexpr RecipientPair kRecipientPairs[] = {
    {ControlsKey::kRecipientLimit, ControlsKey::kRecipientMinutes, &ControlsEntry::recipients_max,
     &ControlsEntry::recipient_minutes},
    {ControlsKey::kSystemRecipientLimit, ControlsKey::kSystemRecipientMinutes,
     &ControlsEntry::system_recipients_max, &ControlsEntry::system_recipient_minutes},
};

// The options of one command, put into an entry.
class Options {
 public:
  // `inherited` is the scope that the default gives.
  Options(ControlsProfile profile, const LimitScope& inherited, ControlsEntry& entry)
      : profile_(profile), inherited_(inherited), entry_(entry) {}

  void Take(absl::string_view option);
  void Finish();
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void TakeValue(const ControlsKeyRow& row, absl::string_view name, absl::string_view value);
  void CompleteRecipientLimit(const RecipientPair& pair);
  void CompleteScope();
  void CheckNeeds(const RecipientPair& pair);

  const ControlsProfile profile_;
  const LimitScope inherited_;
  ControlsEntry& entry_;
  GivenKeys seen_;
  GivenKeys given_;  // With a value, be it a bad one.
  std::vector<std::string> errors_;
};

void Options::Take(absl::string_view option) {
  const size_t separator = option.find('=');
  if (separator == absl::string_view::npos) {
    errors_.push_back(absl::StrCat(Quoted(option), " is not name=value"));
    return;
  }
  const absl::string_view name = absl::StripAsciiWhitespace(option.substr(0, separator));
  const ControlsKeyRow* row = FindControlsKey(name);
  if (row == nullptr) {
    errors_.push_back(absl::StrCat("there is no option ", Quoted(name)));
    return;
  }
  const size_t key = static_cast<size_t>(row->key);
  if (seen_.test(key)) {
    errors_.push_back(absl::StrCat(row->name, " is given twice"));
    return;
  }
  seen_.set(key);
  TakeValue(*row, name, absl::StripAsciiWhitespace(option.substr(separator + 1)));
}

// An error has the name that was typed.
void Options::TakeValue(const ControlsKeyRow& row, absl::string_view name,
                        absl::string_view value) {
  const absl::Status place = CheckPlace(row, entry_.domain.empty());
  if (!place.ok()) {
    errors_.push_back(std::string(place.message()));
    return;
  }
  if (absl::EqualsIgnoreCase(value, "default")) {
    ClearControlsValue(row.key, entry_);
    return;
  }
  given_.set(static_cast<size_t>(row.key));
  const absl::Status set = SetControlsValue(row, value, profile_, entry_);
  if (set.ok()) return;
  errors_.push_back(
      absl::StrCat(absl::AsciiStrToLower(name), " = ", Quoted(value), ": ", set.message()));
}

void Options::Finish() {
  for (const RecipientPair& pair : kRecipientPairs) {
    CompleteRecipientLimit(pair);
    CheckNeeds(pair);
  }
  CompleteScope();
}

void Options::CompleteRecipientLimit(const RecipientPair& pair) {
  const std::optional<uint32_t>& limit = entry_.*pair.limit_field;
  std::optional<uint32_t>& minutes = entry_.*pair.minutes_field;
  if (limit && !minutes) minutes = kRecipientMinutesOffered;
  const bool limit_left_out = Gives(seen_, pair.limit) && !limit;
  if (limit_left_out && !Gives(given_, pair.minutes)) minutes.reset();
}

// What the section of a domain must say in the file. A command that gives a limit does not mean to
// change its kind.
void Options::CompleteScope() {
  if (entry_.domain.empty() || (!entry_.connections_max && !entry_.recipients_max)) return;
  if (!entry_.limits_each_address) entry_.limits_each_address = inherited_.each_address;
  if (!entry_.limits_each_source) entry_.limits_each_source = inherited_.each_source;
}

void Options::CheckNeeds(const RecipientPair& pair) {
  const bool limit_given = (entry_.*pair.limit_field).has_value() || Gives(given_, pair.limit);
  if (!Gives(given_, pair.minutes) || limit_given) return;
  const ControlsKeyRow& limit = RowOf(pair.limit);
  errors_.push_back(absl::StrCat(RowOf(pair.minutes).name, " needs ", limit.name,
                                 ", a whole number from ", limit.number_min, " to ",
                                 limit.number_max));
}

absl::Status AllOf(absl::StatusCode code, const std::vector<std::string>& errors) {
  return errors.empty() ? absl::OkStatus() : absl::Status(code, absl::StrJoin(errors, "\n"));
}

absl::StatusOr<std::string> DomainOf(absl::string_view section) {
  absl::StatusOr<std::string> domain = ParseSectionName(absl::StripAsciiWhitespace(section));
  if (domain.ok()) return domain;
  return absl::InvalidArgumentError(
      absl::StrCat("domain ", Quoted(section), ": ", domain.status().message()));
}

Entries::iterator Find(absl::string_view domain, Entries& entries) {
  return std::find_if(entries.begin(), entries.end(),
                      [&](const ControlsEntry& entry) { return entry.domain == domain; });
}

TlsLevel DefaultLevel(Entries& entries) {
  const auto found = Find("", entries);
  return found == entries.end() ? TlsLevel::kOff : found->tls.level.value_or(TlsLevel::kOff);
}

LimitScope DefaultScope(Entries& entries) {
  const auto found = Find("", entries);
  if (found == entries.end()) return {};
  return {.each_address = found->limits_each_address.value_or(false),
          .each_source = found->limits_each_source.value_or(false)};
}

// What the entries forbid each other: one's own memory of broken TLS at the level of the default.
std::vector<std::string> Conflicts(Entries& entries) {
  const TlsLevel default_level = DefaultLevel(entries);
  std::vector<std::string> conflicts;
  for (const ControlsEntry& entry : entries) {
    const absl::Status heeded = CheckBrokenMemory(entry.tls, default_level);
    if (heeded.ok()) continue;
    conflicts.push_back(absl::StrCat(SectionName(entry.domain), ": ", heeded.message()));
  }
  return conflicts;
}

// Puts the options into the entry at `at`, or leaves it as it was.
absl::Status Change(std::span<const std::string> option_texts, ControlsProfile profile, size_t at,
                    Entries& entries) {
  ControlsEntry before = entries[at];
  Options options(profile, DefaultScope(entries), entries[at]);
  for (const std::string& text : option_texts) options.Take(text);
  options.Finish();
  std::vector<std::string> errors = options.errors();
  if (errors.empty()) errors = Conflicts(entries);
  if (!errors.empty()) entries[at] = std::move(before);
  return AllOf(absl::StatusCode::kInvalidArgument, errors);
}

// A new and empty entry at the end, which goes again if it cannot take the options.
absl::Status Append(absl::string_view domain, std::span<const std::string> options,
                    ControlsProfile profile, Entries& entries) {
  ControlsEntry& entry = entries.emplace_back();
  entry.domain = std::string(domain);
  absl::Status changed = Change(options, profile, entries.size() - 1, entries);
  if (!changed.ok()) entries.pop_back();
  return changed;
}

Entries Replaced(const Entries& entries, Entries imported) {
  const auto is_default = [](const ControlsEntry& entry) { return entry.domain.empty(); };
  const auto goes_on = std::find_if(entries.begin(), entries.end(), is_default);
  const bool given = std::any_of(imported.begin(), imported.end(), is_default);
  if (!given && goes_on != entries.end()) imported.insert(imported.begin(), *goes_on);
  return imported;
}

Entries Merged(Entries entries, Entries imported) {
  absl::flat_hash_map<std::string, size_t> places;
  for (size_t i = 0; i < entries.size(); ++i) places[entries[i].domain] = i;
  for (ControlsEntry& entry : imported) {
    const auto place = places.find(entry.domain);
    if (place == places.end()) {
      entries.push_back(std::move(entry));
    } else {
      entries[place->second] = std::move(entry);
    }
  }
  return entries;
}

}  // namespace

absl::Status NewControls(absl::string_view section, std::span<const std::string> options,
                         std::vector<ControlsEntry>& entries, ControlsProfile profile) {
  const absl::StatusOr<std::string> domain = DomainOf(section);
  if (!domain.ok()) return domain.status();
  if (domain->empty()) return absl::AlreadyExistsError("the default always exists: use edit");
  if (Find(*domain, entries) != entries.end()) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is an entry for ", SectionName(*domain), ": use edit"));
  }
  return Append(*domain, options, profile, entries);
}

absl::Status EditControls(absl::string_view section, std::span<const std::string> options,
                          std::vector<ControlsEntry>& entries, ControlsProfile profile) {
  const absl::StatusOr<std::string> domain = DomainOf(section);
  if (!domain.ok()) return domain.status();
  const auto found = Find(*domain, entries);
  if (found != entries.end()) {
    return Change(options, profile, static_cast<size_t>(found - entries.begin()), entries);
  }
  if (domain->empty()) return Append("", options, profile, entries);
  return absl::NotFoundError(
      absl::StrCat("there is no entry for ", SectionName(*domain), ": use new"));
}

absl::Status DeleteControls(absl::string_view section, std::vector<ControlsEntry>& entries) {
  const absl::StatusOr<std::string> domain = DomainOf(section);
  if (!domain.ok()) return domain.status();
  if (domain->empty()) {
    return absl::InvalidArgumentError("the default cannot be deleted: use edit");
  }
  const auto found = Find(*domain, entries);
  if (found == entries.end()) {
    return absl::NotFoundError(absl::StrCat("there is no entry for ", SectionName(*domain)));
  }
  entries.erase(found);
  return absl::OkStatus();
}

void ClearControls(std::vector<ControlsEntry>& entries) {
  std::erase_if(entries, [](const ControlsEntry& entry) { return !entry.domain.empty(); });
}

std::vector<FileError> ImportControls(absl::string_view text, ImportMode mode,
                                      std::vector<ControlsEntry>& entries,
                                      ControlsProfile profile) {
  ParsedControls parsed =
      ParseControlsFile(text, {.profile = profile, .default_level = DefaultLevel(entries)});
  if (!parsed.errors.empty()) return std::move(parsed.errors);
  const auto file_default = Find("", parsed.entries);
  const int default_line = file_default == parsed.entries.end() ? 0 : file_default->line;
  for (ControlsEntry& entry : parsed.entries) entry.line = 0;  // Not of the table's own file.
  Entries changed = mode == ImportMode::kReplace ? Replaced(entries, std::move(parsed.entries))
                                                 : Merged(entries, std::move(parsed.entries));
  // The file agrees with itself: what does not agree goes on beside it, under its [DEFAULT].
  std::vector<FileError> errors;
  for (const std::string& conflict : Conflicts(changed)) errors.push_back({default_line, conflict});
  if (errors.empty()) entries = std::move(changed);
  return errors;
}

}  // namespace sluice::policy
