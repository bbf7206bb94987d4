#include "engine/destconfig.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "engine/base/domain_name.h"
#include "engine/destconfig_text.h"
#include "policy/controls_change.h"
#include "policy/controls_diff.h"
#include "policy/controls_explain.h"
#include "policy/controls_file.h"
#include "policy/controls_section.h"
#include "policy/controls_writer.h"

namespace sluice {
namespace {

std::string TimeText(WallTime time) {
  const std::time_t seconds =
      std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts = {};
  gmtime_r(&seconds, &parts);
  return absl::StrFormat("%04d-%02d-%02d %02d:%02d:%02d UTC", parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                         parts.tm_sec);
}

// Takes an option out of the words.
bool TakeOption(std::vector<std::string>& words, absl::string_view option) {
  const auto found = std::find(words.begin(), words.end(), option);
  if (found == words.end()) return false;
  words.erase(found);
  return true;
}

bool GivesDefault(const std::string& text) {
  const policy::ParsedControls parsed = policy::ParseControlsFile(text);
  return std::any_of(parsed.entries.begin(), parsed.entries.end(),
                     [](const policy::ControlsEntry& entry) { return entry.domain.empty(); });
}

// Of "client=192.0.2.1".
std::optional<IpAddress> ClientIn(absl::string_view word) {
  if (!absl::StartsWithIgnoreCase(word, "client=")) return std::nullopt;
  return IpAddress::Parse(word.substr(7));
}

std::string Lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

}  // namespace

DestconfigResult Destconfig::Run(Words given, const std::string& input) {
  struct Command {
    absl::string_view name;
    void (Destconfig::*run)(Words);
    size_t words_min;
    size_t words_max;
    bool edits;    // What it does may be committed at once.
    bool changes;  // Something on the disk.
  };
  constexpr size_t kAny = SIZE_MAX;
  static constexpr Command kCommands[] = {
      {"new", &Destconfig::New, 1, kAny, true, true},
      {"edit", &Destconfig::Edit, 2, kAny, true, true},
      {"delete", &Destconfig::Delete, 1, 1, true, true},
      {"clear", &Destconfig::Clear, 0, 0, true, true},
      {"import", &Destconfig::Import, 1, 3, true, true},
      {"export", &Destconfig::Export, 1, 1, false, false},
      {"list", &Destconfig::List, 0, 0, false, false},
      {"detail", &Destconfig::Detail, 1, 1, false, false},
      {"test", &Destconfig::Test, 1, 3, false, false},
      {"diff", &Destconfig::Diff, 0, 0, false, false},
      {"commit", &Destconfig::Commit, 0, 0, false, true},
      {"abandon", &Destconfig::Abandon, 0, 0, false, true},
      {"history", &Destconfig::History, 0, 0, false, false},
      {"rollback", &Destconfig::Rollback, 1, 1, true, true},
  };
  result_ = DestconfigResult{};
  input_ = &input;
  std::vector<std::string> words(given.begin(), given.end());
  commits_ = TakeOption(words, "--commit");
  const std::string name = words.empty() ? "" : words.front();
  const auto command =
      std::find_if(std::begin(kCommands), std::end(kCommands),
                   [&](const Command& each) { return absl::EqualsIgnoreCase(each.name, name); });
  if (command == std::end(kCommands)) {
    Fail(absl::StrCat("'", name, "': there is no such command"));
  } else if (words.size() - 1 < command->words_min || words.size() - 1 > command->words_max) {
    Fail(absl::StrCat(command->name, ": wrong number of words; see sluice destconfig --help"));
  } else if (commits_ && !command->edits) {
    Fail(absl::StrCat(command->name, ": there is nothing to commit"));
  } else if (commits_ && TakeOption(words, "--dry-run")) {
    Fail("--dry-run changes nothing, so there is nothing to commit");
  } else {
    command->changes ? Change(command->run, Words(words).subspan(1))
                     : (this->*command->run)(Words(words).subspan(1));
  }
  result_.done = !Failed();
  return std::move(result_);
}

// An edit that cannot be committed at once is not staged either.
void Destconfig::Change(void (Destconfig::*run)(Words), Words words) {
  const auto lock = world_.store->LockOthersOut(world_.waits);
  if (!lock.ok()) return Fail(lock.status().message());
  const std::optional<std::string> staged = world_.store->StagedText();
  (this->*run)(words);
  if (!commits_ || Failed()) return;
  if (world_.store->staged()) Commit({});
  if (!Failed()) return;
  result_.text.clear();
  const absl::Status restored = world_.store->Restage(staged);
  if (!restored.ok()) Fail(restored.message());
}

// --- Edits.

void Destconfig::New(Words words) {
  Entries entries;
  if (!Load(entries)) return;
  const absl::Status made = policy::NewControls(words[0], words.subspan(1), entries, Profile());
  made.ok() ? Stage(std::move(entries)) : Fail(made.message());
}

void Destconfig::Edit(Words words) {
  Entries entries;
  if (!Load(entries)) return;
  const absl::Status edited = policy::EditControls(words[0], words.subspan(1), entries, Profile());
  edited.ok() ? Stage(std::move(entries)) : Fail(edited.message());
}

void Destconfig::Delete(Words words) {
  Entries entries;
  if (!Load(entries)) return;
  const absl::Status deleted = policy::DeleteControls(words[0], entries);
  deleted.ok() ? Stage(std::move(entries)) : Fail(deleted.message());
}

void Destconfig::Clear(Words) {
  Entries entries;
  if (!Load(entries)) return;
  policy::ClearControls(entries);
  Stage(std::move(entries));
}

void Destconfig::Import(Words given) {
  std::vector<std::string> words(given.begin(), given.end());
  const bool dry_run = TakeOption(words, "--dry-run");
  const bool merges = TakeOption(words, "--merge");
  if (words.size() != 1) return Fail("import takes one file, --merge and --dry-run");
  Entries entries;
  const absl::StatusOr<ControlsStore::Table> working = world_.store->Working();
  // What is broken may be replaced.
  if (merges && !working.ok()) return Fail(working.status().message());
  if (!working.ok() && !GivesDefault(*input_)) {
    Fail(working.status().message());
    return Fail("only a file with a [DEFAULT] can replace a table that cannot be read");
  }
  if (working.ok()) entries = **working;
  const auto mode = merges ? policy::ImportMode::kMerge : policy::ImportMode::kReplace;
  for (const policy::FileError& error : policy::ImportControls(*input_, mode, entries, Profile())) {
    Fail(absl::StrCat(words[0], ":", error.line, ": ", error.text));
  }
  if (Failed()) return;
  result_.text +=
      Lines(policy::DiffLines(policy::DiffControls(working.ok() ? **working : Entries(), entries)));
  if (!dry_run) Stage(std::move(entries));
}

void Destconfig::Rollback(Words words) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(words[0], &number)) return Fail("a version is a number of the history");
  const absl::StatusOr<ControlsStore::Table> entries = world_.store->EntriesOf(number);
  entries.ok() ? Stage(**entries) : Fail(entries.status().message());
}

void Destconfig::Commit(Words) {
  absl::StatusOr<std::string> text = world_.store->TextToCommit();
  if (!text.ok()) return Fail(text.status().message());
  const absl::StatusOr<ControlsStore::Table> entries = world_.store->Working();
  if (!entries.ok()) return Fail(entries.status().message());
  for (const std::string& error : world_.check({*std::move(text), *entries})) Fail(error);
  if (Failed()) return;
  const absl::StatusOr<uint32_t> version = world_.store->Commit();
  if (!version.ok()) return Fail(version.status().message());
  absl::StrAppend(&result_.text, "committed; what it replaced is version ", *version,
                  " of the history\n", world_.use());
}

void Destconfig::Abandon(Words) {
  if (!world_.store->staged()) return Fail("nothing is staged");
  const absl::Status abandoned = world_.store->Abandon();
  if (!abandoned.ok()) return Fail(abandoned.message());
  result_.text = "what was staged is abandoned\n";
}

// --- Looks.

void Destconfig::Export(Words) {
  const ControlsStore::Table entries = Working();
  if (entries != nullptr) result_.output = policy::WriteControlsFile(*entries);
}

void Destconfig::List(Words) {
  const ControlsStore::Table entries = Working();
  if (entries == nullptr) return;
  result_.text = absl::StrCat(CountText(*entries), "\n", ListText(*entries));
}

void Destconfig::Detail(Words words) {
  const ControlsStore::Table entries = Working();
  if (entries == nullptr) return;
  const bool all = absl::EqualsIgnoreCase(words[0], "all");
  const absl::StatusOr<std::string> domain = policy::ParseSectionName(words[0]);
  if (!all && !domain.ok()) return Fail(domain.status().message());
  const std::string text = DetailText(*entries, all ? nullptr : &*domain);
  text.empty() ? Fail(absl::StrCat("there is no entry ", words[0])) : void(result_.text = text);
}

void Destconfig::Test(Words words) {
  const ControlsStore::Table entries = Working();
  if (entries == nullptr) return;
  const std::string& address = words[0];
  const absl::StatusOr<std::string> domain =
      NormalizeDomain(absl::string_view(address).substr(address.rfind('@') + 1));
  if (!domain.ok()) return Fail(domain.status().message());
  TestedMail mail = {.domain = *domain};
  for (const std::string& word : words.subspan(1)) {
    if (absl::StartsWithIgnoreCase(word, "from=")) {
      mail.sender = word.substr(5) == "<>" ? "" : word.substr(5);
    } else if (const auto client = ClientIn(word)) {
      mail.client = *client;
    } else {
      return Fail(absl::StrCat("'", word, "' is neither from=SENDER nor client=ADDRESS"));
    }
  }
  result_.text =
      TestText(*entries, mail,
               {.routes = world_.routes, .sources = world_.sources, .shards = world_.shards});
}

void Destconfig::Diff(Words) {
  const absl::StatusOr<ControlsStore::Table> in_use = world_.store->InUse();
  if (!in_use.ok()) return Fail(in_use.status().message());
  const ControlsStore::Table entries = Working();
  if (entries == nullptr) return;
  result_.text = Lines(policy::DiffLines(policy::DiffControls(**in_use, *entries)));
}

// What each commit changed, newest first; of the older ones only that there was one, since a table
// may be large.
void Destconfig::History(Words) {
  constexpr size_t kComparedMax = 10;
  size_t compared = 0;
  absl::StatusOr<ControlsStore::Table> after = world_.store->InUse();
  if (!after.ok()) return Fail(after.status().message());
  for (const ControlsStore::Version& version : world_.store->History()) {
    const std::string line = absl::StrFormat("%6d  %s", version.number, TimeText(version.replaced));
    if (++compared > kComparedMax) {
      absl::StrAppend(&result_.text, line, "\n");
      continue;
    }
    absl::StatusOr<ControlsStore::Table> before = world_.store->EntriesOf(version.number);
    const std::string changes = before.ok() && after.ok()
                                    ? absl::StrCat("sections that it changed: ",
                                                   policy::DiffControls(**before, **after).size())
                                    : "cannot be read";
    absl::StrAppend(&result_.text, line, "  ", changes, "\n");
    after = std::move(before);
  }
  if (result_.text.empty()) result_.text = "nothing has been committed yet\n";
}

// ---

// Null: it has failed.
ControlsStore::Table Destconfig::Working() {
  const absl::StatusOr<ControlsStore::Table> working = world_.store->Working();
  if (working.ok()) return *working;
  Fail(working.status().message());
  return nullptr;
}

// A copy to edit.
bool Destconfig::Load(Entries& entries) {
  const ControlsStore::Table working = Working();
  if (working != nullptr) entries = *working;
  return working != nullptr;
}

void Destconfig::Stage(Entries entries) {
  const std::string count = CountText(entries);
  const absl::Status staged = world_.store->Stage(std::move(entries));
  if (!staged.ok()) return Fail(staged.message());
  absl::StrAppend(&result_.text, count);
  if (!world_.store->staged()) {
    absl::StrAppend(&result_.text, "nothing differs from what is in use\n");
  } else if (!commits_) {
    absl::StrAppend(&result_.text, "staged; commit puts it in place\n");
  }
}

void Destconfig::Fail(absl::string_view why) {
  for (absl::string_view line : absl::StrSplit(why, '\n', absl::SkipEmpty())) {
    result_.errors.emplace_back(line);
  }
}

}  // namespace sluice
