#include "tools/sluice/destconfig_dialogue.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/config.h"
#include "engine/destconfig_text.h"
#include "policy/controls_file.h"
#include "policy/controls_section.h"
#include "tools/sluice/controls_questions.h"
#include "tools/sluice/prompts.h"

namespace sluice::tools {
namespace {

using Words = std::vector<std::string>;

struct Told {
  int code = 0;  // RunDestconfig's.
  std::string text;
  std::string errors;
};

class Dialogue {
 public:
  Dialogue(DestconfigOptions options, Console& console);

  int Run();

 private:
  struct Operation {
    absl::string_view word;
    absl::string_view purpose;  // Empty: it is not in the menu, as on the appliance.
    void (Dialogue::*run)();
  };
  static const Operation kOperations[];

  void Setup();
  void New();
  void Edit();
  void Delete();
  void Default();
  void List();
  void Detail();
  void Clear();
  void Import();
  void Export();
  void Commit();
  void Diff();
  void Abandon();

  bool Look();
  const Operation* AskOperation();
  int Leave(const Operation* unfinished);

  std::string AskEntry(absl::string_view question, bool may_be_all = false);
  std::string AskFile(absl::string_view to);
  const policy::ControlsEntry* Find(absl::string_view domain) const;
  const policy::ControlsEntry& DefaultEntry() const;
  void EditEntry(const policy::ControlsEntry& entry, const Words& asked);

  Told Ask(const Words& words);
  void Do(const Words& words);
  void Show(const Words& words);
  void Refuse(absl::string_view why);

  DestconfigOptions options_;
  Console& console_;
  Prompts prompts_;
  ControlsNames names_;
  std::string machine_;
  std::vector<policy::ControlsEntry> entries_;  // The default first, and always there.
  bool staged_ = false;
  bool refused_ = false;
  int unreadable_ = 0;  // The exit code where the table could not be read.
};

// The appliance's, in its order and words; then what it leaves to the command line.
const Dialogue::Operation Dialogue::kOperations[] = {
    {"SETUP", "Change global settings.", &Dialogue::Setup},
    {"NEW", "Create a new entry.", &Dialogue::New},
    {"EDIT", "Modify an entry.", &Dialogue::Edit},
    {"DELETE", "Remove an entry.", &Dialogue::Delete},
    {"DEFAULT", "Change the default.", &Dialogue::Default},
    {"LIST", "Display a summary list of all entries.", &Dialogue::List},
    {"DETAIL", "Display details for one destination or all entries.", &Dialogue::Detail},
    {"CLEAR", "Remove all entries.", &Dialogue::Clear},
    {"IMPORT", "Import tables from a file.", &Dialogue::Import},
    {"EXPORT", "Export tables to a file.", &Dialogue::Export},
    {"COMMIT", "", &Dialogue::Commit},
    {"DIFF", "", &Dialogue::Diff},
    {"ABANDON", "", &Dialogue::Abandon},
};

std::string MachineName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

template <class T>
Words NamesOf(const std::vector<T>& all) {
  Words names;
  for (const T& each : all) names.push_back(each.name);
  return names;
}

Dialogue::Dialogue(DestconfigOptions options, Console& console)
    : options_(std::move(options)), console_(console), prompts_(console), machine_(MachineName()) {
  const LoadedConfig loaded = LoadConfig(options_.config_path);
  if (!loaded.errors.empty()) return;
  names_ = {.bounce_profiles = NamesOf(loaded.config.bounce_profiles),
            .certificates = NamesOf(loaded.config.certificates),
            .profile = loaded.config.destinations.profile};
  machine_ = loaded.config.hostname;
}

int Dialogue::Run() {
  while (Look()) {
    const Operation* operation = AskOperation();
    if (operation == nullptr) return Leave(nullptr);
    (this->*operation->run)();
    if (prompts_.over()) return Leave(operation);
  }
  return unreadable_;
}

// The table as it is now, whoever changed it.
bool Dialogue::Look() {
  const Told table = Ask({"export", "-"});
  const Told differences = Ask({"diff"});
  const policy::ParsedControls parsed = policy::ParseControlsFile(
      table.text, {.profile = policy::ControlsProfile::kExtended});  // It has been judged already.
  prompts_.Say(table.errors);
  for (const policy::FileError& error : parsed.errors) {
    prompts_.Say(absl::StrCat("the table, line ", error.line, ": ", error.text));
  }
  unreadable_ = table.code != 0 ? table.code : (parsed.errors.empty() ? 0 : 2);
  entries_ = parsed.entries;
  staged_ = !differences.text.empty();
  return unreadable_ == 0;
}

const Dialogue::Operation* Dialogue::AskOperation() {
  prompts_.Say(CountText(entries_));
  if (staged_) prompts_.Say("Changes are staged: commit, diff or abandon.");
  std::string menu = "\nChoose the operation you want to perform:\n";
  Words words;
  for (const Operation& operation : kOperations) {
    words.emplace_back(operation.word);
    if (operation.purpose.empty()) continue;
    absl::StrAppend(&menu, "- ", operation.word, " - ", operation.purpose, "\n");
  }
  const std::optional<size_t> place = prompts_.Word(menu, words);
  return place ? &kOperations[*place] : nullptr;
}

int Dialogue::Leave(const Operation* unfinished) {
  if (unfinished != nullptr) {
    prompts_.Say(absl::StrCat("Nothing of ", unfinished->word, " is kept."));
  }
  if (staged_) {
    prompts_.Say("Changes are staged; 'sluice destconfig commit' puts them in place.");
  }
  if (prompts_.interrupted()) return 130;  // As a shell says it of SIGINT.
  const bool missed = console_.scripted() && (refused_ || prompts_.any_wrong());
  return unfinished != nullptr || missed ? 1 : 0;
}

// --- Operations.

void Dialogue::Setup() {
  const policy::ControlsEntry& entry = DefaultEntry();
  EditEntry(entry, ControlsQuestions(prompts_, entry, entry, names_).AskOfAll());
}

void Dialogue::New() {
  policy::ControlsEntry entry;
  const std::string section = prompts_.Text(
      {.text = "Enter the domain you wish to configure.", .check = [&](const std::string& answer) {
         return policy::ParseSectionName(answer).status();
       }});
  if (section.empty()) return;
  entry.domain = *policy::ParseSectionName(section);
  const std::string name = policy::SectionName(entry.domain);
  if (Find(entry.domain) != nullptr) {
    const absl::string_view advice = entry.domain.empty() ? "DEFAULT" : "EDIT";
    return Refuse(absl::StrCat("There is an entry for ", name, " already: use ", advice, "."));
  }
  Words words = {"new", name};
  for (std::string& option :
       ControlsQuestions(prompts_, entry, DefaultEntry(), names_).AskOfDomain(/*is_new=*/true)) {
    words.push_back(std::move(option));
  }
  Do(words);
}

void Dialogue::Edit() {
  const std::string section = AskEntry("Enter the domain you wish to edit.");
  if (section.empty()) return;
  const policy::ControlsEntry& entry = *Find(*policy::ParseSectionName(section));
  if (entry.domain.empty()) return Default();
  EditEntry(
      entry,
      ControlsQuestions(prompts_, entry, DefaultEntry(), names_).AskOfDomain(/*is_new=*/false));
}

void Dialogue::Delete() {
  const std::string section = AskEntry("Enter the domain you wish to delete.");
  if (!section.empty()) Do({"delete", section});
}

void Dialogue::Default() {
  const policy::ControlsEntry& entry = DefaultEntry();
  EditEntry(entry, ControlsQuestions(prompts_, entry, entry, names_).AskOfDefault());
}

void Dialogue::List() {
  prompts_.Say(absl::StrCat(ListText(entries_), "\n"));
}

void Dialogue::Detail() {
  const std::string section =
      AskEntry("Enter the domain you wish to see, DEFAULT, or ALL.", /*may_be_all=*/true);
  if (!section.empty()) Show({"detail", section});
}

void Dialogue::Clear() {
  if (prompts_.YesNo("Do you want to remove all entries but the default?", false)) Do({"clear"});
}

void Dialogue::Import() {
  const std::string file = AskFile("import");
  if (!file.empty()) Do({"import", file});
}

void Dialogue::Export() {
  const std::string file = AskFile("export");
  if (!file.empty()) Show({"export", file});
}

void Dialogue::Commit() {
  Show({"commit"});
}

void Dialogue::Diff() {
  if (!staged_) prompts_.Say("Nothing differs from what is in use.\n\n");
  if (staged_) Show({"diff"});
}

void Dialogue::Abandon() {
  Show({"abandon"});
}

// --- Parts of them.

// The name of an entry that is there; empty: of none after all.
std::string Dialogue::AskEntry(absl::string_view question, bool may_be_all) {
  Words words;
  for (const policy::ControlsEntry& entry : entries_) {
    words.push_back(policy::SectionName(entry.domain));
  }
  if (may_be_all) words.emplace_back("ALL");
  return prompts_.Text(
      {.text = std::string(question),
       .words = std::move(words),
       .check = [&](const std::string& answer) {
         if (may_be_all && absl::EqualsIgnoreCase(answer, "ALL")) return absl::OkStatus();
         const absl::StatusOr<std::string> domain = policy::ParseSectionName(answer);
         if (!domain.ok()) return domain.status();
         if (Find(*domain) != nullptr) return absl::OkStatus();
         return absl::NotFoundError(absl::StrCat("There is no entry for ", answer, "."));
       }});
}

std::string Dialogue::AskFile(absl::string_view to) {
  return prompts_.Text({.text = absl::StrCat("Enter the name of the file on machine \"", machine_,
                                             "\" to ", to, ":"),
                        .is_file = true});
}

const policy::ControlsEntry* Dialogue::Find(absl::string_view domain) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(),
                   [&](const policy::ControlsEntry& entry) { return entry.domain == domain; });
  return found == entries_.end() ? nullptr : &*found;
}

const policy::ControlsEntry& Dialogue::DefaultEntry() const {
  static const policy::ControlsEntry factory;
  const policy::ControlsEntry* entry = Find("");
  return entry == nullptr ? factory : *entry;
}

void Dialogue::EditEntry(const policy::ControlsEntry& entry, const Words& asked) {
  if (asked.empty()) return;
  Words words = {"edit", policy::SectionName(entry.domain)};
  words.insert(words.end(), asked.begin(), asked.end());
  Do(words);
}

// --- Commands.

Told Dialogue::Ask(const Words& words) {
  options_.words = words;
  std::ostringstream out;
  std::ostringstream errors;
  const int code = RunDestconfig(options_, out, errors);
  return {.code = code, .text = out.str(), .errors = errors.str()};
}

// A command whose success the menu tells. None where its answers were cut off.
void Dialogue::Do(const Words& words) {
  if (prompts_.over()) return;
  const Told told = Ask(words);
  if (told.code != 0) Refuse(told.errors);
}

void Dialogue::Show(const Words& words) {
  if (prompts_.over()) return;
  const Told told = Ask(words);
  prompts_.Say(absl::StrCat(told.text, told.text.empty() ? "" : "\n"));
  if (told.code != 0) Refuse(told.errors);
}

void Dialogue::Refuse(absl::string_view why) {
  refused_ = true;
  prompts_.Say(absl::StrCat(why, absl::EndsWith(why, "\n") ? "\n" : "\n\n"));
}

}  // namespace

int RunDestconfigDialogue(const DestconfigOptions& options, Console& console) {
  return Dialogue(options, console).Run();
}

}  // namespace sluice::tools
