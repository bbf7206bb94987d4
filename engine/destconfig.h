// The operator's command on the table of destination controls, one command a call:
//
//   new SECTION [OPTION=VALUE …]      edit SECTION OPTION=VALUE …      delete SECTION
//   clear                             import FILE [--merge] [--dry-run]
//   list                              detail SECTION | all             export FILE
//   test ADDRESS [from=SENDER] [client=ADDRESS]
//                                     diff      commit      abandon
//   history                           rollback VERSION
//
// SECTION is a domain, a partial domain (".example.com"), an address, or DEFAULT. Options have the
// names of the file or of the appliance's batch form. What edits stages; `commit` puts it in place,
// and --commit behind an edit does so at once.
//
// The same in the engine, over its control socket, and in a program of its own where none runs.

#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/controls_store.h"
#include "engine/dns/routes_table.h"
#include "policy/controls_keys.h"

namespace sluice {

struct DestconfigResult {
  bool done = false;
  std::vector<std::string> errors;  // Sentences, or lines "file:line: text". Nothing was changed.
  std::string text;                 // For people: lines, each ended.
  std::string output;               // Of export: the file's text.
};

// What a commit is about to put in place.
struct ProposedControls {
  std::string text;
  ControlsStore::Table entries;  // What the text says.

  operator const std::string&() const { return text; }  // For who reads it anew.
};

class Destconfig {
 public:
  struct World {
    ControlsStore* store = nullptr;
    const dns::RoutesTable* routes = nullptr;  // Null: not known.
    const policy::Sources* sources = nullptr;  // The same.
    uint32_t shards = 0;                       // 0: not known.
    bool waits = false;  // For another command that is changing the table; else it is refused.
    // What is wrong with a table beyond itself: what it names is not there. Before a commit.
    std::function<std::vector<std::string>(const ProposedControls& proposed)> check;
    // A commit has put it in place. Says how far it is in use: a line, ended.
    std::function<std::string()> use;
  };

  explicit Destconfig(World world) : world_(std::move(world)) {}

  // `input` is the text of the file that import names.
  DestconfigResult Run(std::span<const std::string> words, const std::string& input = "");

 private:
  using Words = std::span<const std::string>;
  using Entries = ControlsStore::Entries;

  void New(Words words);
  void Edit(Words words);
  void Delete(Words words);
  void Clear(Words words);
  void Import(Words words);
  void Export(Words words);
  void List(Words words);
  void Detail(Words words);
  void Test(Words words);
  void Diff(Words words);
  void Commit(Words words);
  void Abandon(Words words);
  void History(Words words);
  void Rollback(Words words);

  void Change(void (Destconfig::*run)(Words), Words words);
  ControlsStore::Table Working();
  bool Load(Entries& entries);
  void Stage(Entries entries);
  void Fail(absl::string_view why);
  policy::ControlsProfile Profile() const { return world_.store->profile(); }
  bool Failed() const { return !result_.errors.empty(); }

  World world_;
  const std::string* input_ = nullptr;
  bool commits_ = false;  // --commit was given.
  DestconfigResult result_;
};

}  // namespace sluice
