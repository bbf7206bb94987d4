// Questions in the appliance's form, asked until their answers are right: what is offered stands in
// brackets, and an empty answer takes it.
//
//   Do you wish to apply a recipient limit to this domain? [N]>
//
// A wrong answer is told what would be right. After the last answer (Ctrl-C, or the end) all
// further questions are not put any more and are answered as offered, so that who asks in a row
// need look only once, at the end, whether the answers count: over().

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/sluice/console.h"

namespace sluice::tools {

struct NumberRange {
  uint32_t min = 0;
  uint32_t max = 0;
};

struct ChoiceQuestion {
  std::string text;  // Lines above the choices, without the last end.
  std::vector<std::string> choices;
  size_t offered = 0;
  std::string prompt;  // Before the brackets, if anything.
};

struct TextQuestion {
  std::string text;
  std::string offered;
  std::vector<std::string> words;  // Completed.
  bool is_file = false;
  std::function<absl::Status(const std::string&)> check;  // Of what is not empty.
};

class Prompts {
 public:
  explicit Prompts(Console& console) : console_(console) {}

  // Lines; the last is ended here. Nothing of an empty text.
  void Say(absl::string_view text);

  bool YesNo(absl::string_view question, bool offered);
  // Without an offer an empty answer is wrong.
  uint32_t Number(absl::string_view question, NumberRange range, std::optional<uint32_t> offered);
  // By its number or its words. The place in `choices`.
  size_t Choice(const ChoiceQuestion& question);
  // Empty: so was the answer, and nothing was offered.
  std::string Text(const TextQuestion& question);
  // One of the words, or none.
  std::optional<size_t> Word(absl::string_view question, const std::vector<std::string>& words);

  bool over() const { return last_.has_value(); }
  bool interrupted() const { return last_ == Line::Kind::kInterrupt; }
  bool any_wrong() const { return any_wrong_; }

 private:
  // An answer read, or what would be right.
  template <class T>
  using Read = std::function<absl::StatusOr<T>(const std::string&)>;

  template <class T>
  T AskUntilRight(absl::string_view above, const Prompt& prompt, T offered, const Read<T>& read);

  Console& console_;
  std::optional<Line::Kind> last_;
  bool any_wrong_ = false;
};

}  // namespace sluice::tools
