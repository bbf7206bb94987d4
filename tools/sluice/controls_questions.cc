#include "tools/sluice/controls_questions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"
#include "policy/ip_preference.h"
#include "policy/tls_level.h"

namespace sluice::tools {

using policy::ControlsKey;
using policy::IpPreference;
using policy::TlsLevel;

namespace {

using enum ControlsKey;

// What the appliance offers where the entry says nothing.
constexpr uint32_t kConnectionsOffered = 500;
constexpr uint32_t kMessagesOffered = 50;
constexpr uint32_t kMinutesOffered = 60;

constexpr absl::string_view kDemo = "Demo";  // The certificate where none is named.

// The appliance takes "Default" for a profile as it takes all of that name: inherited.
constexpr absl::string_view kDefaultProfile = "Default";

// Adds what is not there.
void Add(const std::string& name, std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

size_t PlaceOf(absl::string_view value, const std::vector<std::string>& values) {
  auto found = std::find(values.begin(), values.end(), value);
  if (found == values.end()) {
    found = std::find_if(values.begin(), values.end(), [&](const std::string& each) {
      return absl::EqualsIgnoreCase(each, value);
    });
  }
  return found == values.end() ? 0 : static_cast<size_t>(found - values.begin());
}

}  // namespace

ControlsQuestions::ControlsQuestions(Prompts& prompts, const policy::ControlsEntry& entry,
                                     const policy::ControlsEntry& default_entry,
                                     const ControlsNames& names)
    : prompts_(prompts),
      entry_(entry),
      default_entry_(default_entry),
      names_(names),
      name_(policy::SectionName(entry.domain)) {}

ControlsQuestions::Options ControlsQuestions::AskOfDomain(bool is_new) {
  const bool connections =
      Gate(kMaxHostConcurrency,
           absl::StrCat("Do you wish to configure a concurrency limit for ", name_, "?"), is_new);
  if (connections) AskConnections();
  if (Gate(kMaxMessagesPerConnection,
           "Do you wish to apply a messages-per-connection limit to this domain?")) {
    AskMessagesPerConnection();
  }
  const bool recipients =
      Gate(kRecipientLimit, "Do you wish to apply a recipient limit to this domain?");
  if (recipients) AskRecipients();
  if (connections || recipients) {
    AskScope();
  } else if (Said(kMaxHostConcurrency) || Said(kRecipientLimit)) {  // It goes with its limits.
    LeaveOut(kLimitType);
    LeaveOut(kLimitApply);
  }
  if (Gate(kTableTls, "Do you wish to apply a specific TLS setting for this domain?")) AskTls();
  if (Gate(kBounceValidation,
           "Do you wish to apply a specific bounce verification address tagging setting for this "
           "domain?")) {
    AskTagging();
  }
  if (Gate(kBounceProfile, "Do you wish to apply a specific bounce profile to this domain?")) {
    AskBounceProfile();
  }
  if (Gate(kIpSortPref, "Do you wish to apply a specific IP sort preference to this domain?")) {
    AskIpPreference();
  }
  return std::move(options_);
}

// Profiles are a destination's own: the default one is named so in the configuration.
ControlsQuestions::Options ControlsQuestions::AskOfDefault() {
  AskConnections();
  AskMessagesPerConnection();
  if (Gate(kRecipientLimit, "Do you wish to apply a recipient limit by default?")) AskRecipients();
  AskScope();
  AskTls();
  AskTagging();
  AskIpPreference();
  return std::move(options_);
}

ControlsQuestions::Options ControlsQuestions::AskOfAll() {
  AskCertificate();
  const bool alerts = SaidOr(kSendTlsReqAlert, "off") == "on";
  Set(kSendTlsReqAlert,
      prompts_.YesNo("Do you want to send an alert when a required TLS connection fails?", alerts)
          ? "on"
          : "off");
  return std::move(options_);
}

// --- The attributes, one by one.

bool ControlsQuestions::Gate(ControlsKey key, absl::string_view question, bool is_new) {
  const bool yes = prompts_.YesNo(question, is_new || Said(key).has_value());
  if (!yes) LeaveOut(key);
  return yes;
}

void ControlsQuestions::AskConnections() {
  AskNumber(kMaxHostConcurrency,
            absl::StrCat("Enter the max concurrency limit for \"", name_, "\"."),
            NumberSaid(kMaxHostConcurrency).value_or(kConnectionsOffered));
}

void ControlsQuestions::AskMessagesPerConnection() {
  AskNumber(kMaxMessagesPerConnection,
            absl::StrCat("Enter the max number of messages per connection for \"", name_, "\"."),
            NumberSaid(kMaxMessagesPerConnection).value_or(kMessagesOffered));
}

void ControlsQuestions::AskRecipients() {
  const uint32_t minutes = AskNumber(
      kRecipientMinutes, "Enter the number of minutes used to measure the recipient limit.",
      NumberSaid(kRecipientMinutes).value_or(kMinutesOffered));
  AskNumber(kRecipientLimit,
            absl::StrCat("Enter the max number of recipients per ", minutes, " minutes for \"",
                         name_, "\"."),
            NumberSaid(kRecipientLimit));
}

void ControlsQuestions::AskScope() {
  const Meaning types[] = {{absl::StrCat("One limit applies to the entire domain ", name_), "host"},
                           {"Separate limit for each mail exchanger IP address", "MXIP"}};
  AskMeaning(kLimitType, absl::StrCat("Select how you want to apply the limits for ", name_, ":"),
             types, SaidOr(kLimitType, "host"));
  const Meaning applies[] = {{"System Wide", "system"}, {"Per Virtual Gateway(tm)", "VG"}};
  AskMeaning(kLimitApply, "Select how the limits will be enforced:", applies,
             SaidOr(kLimitApply, "system"));
}

void ControlsQuestions::AskTls() {
  std::vector<Meaning> levels;
  for (int i = 0; i < policy::kTlsLevels; ++i) {
    const auto level = static_cast<TlsLevel>(i);
    levels.push_back(
        {std::string(policy::TlsLevelLongName(level)), std::string(policy::TlsLevelName(level))});
  }
  const std::string off(policy::TlsLevelName(TlsLevel::kOff));
  const std::string chosen =
      AskMeaning(kTableTls, "Do you want to use TLS support?", levels, SaidOr(kTableTls, off));
  if (chosen == off || prompts_.over()) return;
  prompts_.Say(
      "You have chosen to enable TLS. Please use the 'certconfig' command to ensure that there is "
      "a valid certificate configured.\n\n");
}

void ControlsQuestions::AskTagging() {
  const bool tags = prompts_.YesNo("Perform bounce verification address tagging?",
                                   SaidOr(kBounceValidation, "off") == "on");
  Set(kBounceValidation, tags ? "on" : "off");
}

void ControlsQuestions::AskBounceProfile() {
  AskName(kBounceProfile, {.above = "Please choose a bounce profile to apply:"}, kDefaultProfile,
          names_.bounce_profiles);
}

void ControlsQuestions::AskIpPreference() {
  const Meaning preferences[] = {{"IPv6 Preferred", "PREFER_V6"},
                                 {"IPv6 Required", "REQUIRE_V6"},
                                 {"IPv4 Preferred", "PREFER_V4"},
                                 {"IPv4 Required", "REQUIRE_V4"}};
  const std::string inherited =
      policy::ControlsText(kIpSortPref, default_entry_).value_or(policy::FactoryText(kIpSortPref));
  AskMeaning(kIpSortPref, "Please choose the IP sort preference to apply:", preferences,
             SaidOr(kIpSortPref, inherited));
}

void ControlsQuestions::AskCertificate() {
  const std::string now = SaidOr(kCertificate, kDemo);
  const absl::string_view warning =
      now == kDemo ? " You may use \"Demo\", but this will not be secure." : "";
  prompts_.Say(absl::StrCat("The \"", now, "\" certificate is currently configured.", warning));
  AskName(kCertificate, {.prompt = "Please choose the certificate to apply:"}, kDemo,
          names_.certificates);
}

// --- Answers into options.

uint32_t ControlsQuestions::AskNumber(ControlsKey key, absl::string_view question,
                                      std::optional<uint32_t> offered) {
  const policy::ControlsKeyRow& row = policy::RowOf(key);
  const uint32_t number = prompts_.Number(
      question, {.min = row.number_min, .max = policy::NumberMax(row, names_.profile)}, offered);
  Set(key, absl::StrCat(number));
  return number;
}

std::string ControlsQuestions::AskMeaning(ControlsKey key, const std::string& question,
                                          std::span<const Meaning> meanings,
                                          absl::string_view offered) {
  std::vector<std::string> choices;
  std::vector<std::string> values;
  for (const Meaning& meaning : meanings) {
    choices.push_back(meaning.choice);
    values.push_back(meaning.value);
  }
  const size_t place = prompts_.Choice(
      {.text = question, .choices = std::move(choices), .offered = PlaceOf(offered, values)});
  Set(key, values[place]);
  return values[place];
}

// A name that the entry says stays a choice where the configuration has it no more.
void ControlsQuestions::AskName(ControlsKey key, const ChoiceText& text, absl::string_view nobody,
                                const std::optional<std::vector<std::string>>& known) {
  const std::string offered = SaidOr(key, nobody);
  std::string name;
  if (known) {
    std::vector<std::string> names = {std::string(nobody)};
    for (const std::string& each : *known) Add(each, names);
    Add(offered, names);
    name = names[prompts_.Choice({.text = text.above,
                                  .choices = names,
                                  .offered = PlaceOf(offered, names),
                                  .prompt = text.prompt})];
  } else {
    name = prompts_.Text({.text = absl::StrCat(text.above, text.prompt), .offered = offered});
  }
  if (absl::EqualsIgnoreCase(name, nobody)) {
    LeaveOut(key);
  } else {
    Set(key, name);
  }
}

std::optional<std::string> ControlsQuestions::Said(ControlsKey key) const {
  return policy::ControlsText(key, entry_);
}

std::string ControlsQuestions::SaidOr(ControlsKey key, absl::string_view otherwise) const {
  return Said(key).value_or(std::string(otherwise));
}

std::optional<uint32_t> ControlsQuestions::NumberSaid(ControlsKey key) const {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(SaidOr(key, ""), &number)) return std::nullopt;
  return number;
}

// The default entry need not say what holds without it.
void ControlsQuestions::Set(ControlsKey key, absl::string_view value) {
  const bool is_default = entry_.domain.empty();
  const std::string now = SaidOr(key, is_default ? policy::FactoryText(key) : "");
  const bool is_name = key == kBounceProfile || key == kCertificate;  // Told apart by case, too.
  if (is_name ? now == value : absl::EqualsIgnoreCase(now, value)) return;
  options_.push_back(absl::StrCat(policy::RowOf(key).name, "=", value));
}

void ControlsQuestions::LeaveOut(ControlsKey key) {
  if (Said(key)) options_.push_back(absl::StrCat(policy::RowOf(key).name, "=default"));
}

}  // namespace sluice::tools
