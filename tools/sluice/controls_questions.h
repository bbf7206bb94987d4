// The questions about one entry of destination controls, in the appliance's order, and the options
// (policy/controls_change.h) that make the entry what the answers say.
//
// "No" to "do you wish to apply a specific …?" leaves the attribute out: it is inherited. What the
// entry says is what is offered, and an option that would change nothing is left out. Where the
// prompts are over() the options do not count.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/controls_keys.h"
#include "policy/controls_table.h"
#include "tools/sluice/prompts.h"

namespace sluice::tools {

// Those that the configuration has. Where it is not known they are asked for as free text.
struct ControlsNames {
  std::optional<std::vector<std::string>> bounce_profiles;  // "Default" is the first.
  std::optional<std::vector<std::string>> certificates;     // Without the demo one.
  policy::ControlsProfile profile = policy::ControlsProfile::kCompatible;  // For the ranges.
};

class ControlsQuestions {
 public:
  using Options = std::vector<std::string>;

  // All must outlive the questions. `entry` as it is: of a new one nothing but the domain.
  ControlsQuestions(Prompts& prompts, const policy::ControlsEntry& entry,
                    const policy::ControlsEntry& default_entry, const ControlsNames& names);

  Options AskOfDomain(bool is_new);
  Options AskOfDefault();  // Every attribute has a value: there is nothing to inherit from.
  Options AskOfAll();      // What is the same for all destinations; the default entry says it.

 private:
  // What a choice stands for in the table.
  struct Meaning {
    std::string choice;
    std::string value;
  };

  // Above the choices, and before the brackets below them.
  struct ChoiceText {
    std::string above;
    std::string prompt;
  };

  bool Gate(policy::ControlsKey key, absl::string_view question, bool is_new = false);
  void AskConnections();
  void AskMessagesPerConnection();
  void AskRecipients();
  void AskScope();
  void AskTls();
  void AskTagging();
  void AskBounceProfile();
  void AskIpPreference();
  void AskCertificate();

  uint32_t AskNumber(policy::ControlsKey key, absl::string_view question,
                     std::optional<uint32_t> offered);
  std::string AskMeaning(policy::ControlsKey key, const std::string& question,
                         std::span<const Meaning> meanings, absl::string_view offered);
  // `nobody` is the choice that names none: the key is left out. `known` are the others.
  void AskName(policy::ControlsKey key, const ChoiceText& text, absl::string_view nobody,
               const std::optional<std::vector<std::string>>& known);

  std::optional<std::string> Said(policy::ControlsKey key) const;
  std::string SaidOr(policy::ControlsKey key, absl::string_view otherwise) const;
  std::optional<uint32_t> NumberSaid(policy::ControlsKey key) const;
  void Set(policy::ControlsKey key, absl::string_view value);
  void LeaveOut(policy::ControlsKey key);

  Prompts& prompts_;
  const policy::ControlsEntry& entry_;
  const policy::ControlsEntry& default_entry_;
  const ControlsNames& names_;
  const std::string name_;  // As the questions call the destination.
  Options options_;
};

}  // namespace sluice::tools
