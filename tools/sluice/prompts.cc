#include "tools/sluice/prompts.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sluice::tools {
namespace {

std::string Bracketed(absl::string_view offered) {
  return absl::StrCat("[", offered, "]> ");
}

absl::StatusOr<uint32_t> ReadNumber(const std::string& answer, NumberRange range) {
  const bool digits = std::all_of(answer.begin(), answer.end(),
                                  [](unsigned char c) { return absl::ascii_isdigit(c); });
  uint32_t number = 0;
  if (digits && absl::SimpleAtoi(answer, &number) && number >= range.min && number <= range.max) {
    return number;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("The answer must be a whole number from ", range.min, " to ", range.max, "."));
}

// As it is written, if one is; two may differ in case alone.
std::optional<size_t> PlaceOf(const std::string& word, const std::vector<std::string>& words) {
  auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) {
    found = std::find_if(words.begin(), words.end(), [&](const std::string& each) {
      return absl::EqualsIgnoreCase(each, word);
    });
  }
  if (found == words.end()) return std::nullopt;
  return static_cast<size_t>(found - words.begin());
}

}  // namespace

void Prompts::Say(absl::string_view text) {
  if (text.empty()) return;
  console_.Write(text);
  if (!absl::EndsWith(text, "\n")) console_.Write("\n");
}

bool Prompts::YesNo(absl::string_view question, bool offered) {
  const Prompt prompt = {.text = absl::StrCat(question, " ", Bracketed(offered ? "Y" : "N")),
                         .words = {"Yes", "No"}};
  return AskUntilRight<bool>("", prompt, offered, [&](const std::string& answer) {
    if (answer.empty()) return absl::StatusOr<bool>(offered);
    for (const absl::string_view yes : {"Y", "Yes"}) {
      if (absl::EqualsIgnoreCase(answer, yes)) return absl::StatusOr<bool>(true);
    }
    for (const absl::string_view no : {"N", "No"}) {
      if (absl::EqualsIgnoreCase(answer, no)) return absl::StatusOr<bool>(false);
    }
    return absl::StatusOr<bool>(absl::InvalidArgumentError("The answer must be Y or N."));
  });
}

uint32_t Prompts::Number(absl::string_view question, NumberRange range,
                         std::optional<uint32_t> offered) {
  const Prompt prompt = {.text = Bracketed(offered ? absl::StrCat(*offered) : "")};
  return AskUntilRight<uint32_t>(question, prompt, offered.value_or(range.min),
                                 [&](const std::string& answer) -> absl::StatusOr<uint32_t> {
                                   if (answer.empty() && offered) return *offered;
                                   return ReadNumber(answer, range);
                                 });
}

size_t Prompts::Choice(const ChoiceQuestion& question) {
  std::string above = question.text;
  const auto count = static_cast<uint32_t>(question.choices.size());
  for (uint32_t i = 0; i < count; ++i) {
    absl::StrAppend(&above, above.empty() ? "" : "\n", i + 1, ". ", question.choices[i]);
  }
  const absl::string_view space = question.prompt.empty() ? "" : " ";
  const Prompt prompt = {
      .text = absl::StrCat(question.prompt, space, Bracketed(absl::StrCat(question.offered + 1))),
      .words = question.choices};
  return AskUntilRight<size_t>(
      above, prompt, question.offered, [&](const std::string& answer) -> absl::StatusOr<size_t> {
        if (answer.empty()) return question.offered;
        // A number first: a choice may be called as another one's number.
        const absl::StatusOr<uint32_t> number = ReadNumber(answer, {.min = 1, .max = count});
        if (number.ok()) return *number - 1;
        if (const auto place = PlaceOf(answer, question.choices)) return *place;
        return absl::InvalidArgumentError(absl::StrCat("The answer must be a number from 1 to ",
                                                       count, ", or the words beside it."));
      });
}

std::string Prompts::Text(const TextQuestion& question) {
  const Prompt prompt = {
      .text = Bracketed(question.offered), .words = question.words, .is_file = question.is_file};
  return AskUntilRight<std::string>(
      question.text, prompt, question.offered,
      [&](const std::string& answer) -> absl::StatusOr<std::string> {
        if (answer.empty()) return question.offered;
        const absl::Status right = question.check ? question.check(answer) : absl::OkStatus();
        if (!right.ok()) return right;
        return answer;
      });
}

std::optional<size_t> Prompts::Word(absl::string_view question,
                                    const std::vector<std::string>& words) {
  using Place = std::optional<size_t>;
  const Prompt prompt = {.text = Bracketed(""), .words = words};
  return AskUntilRight<Place>(
      question, prompt, std::nullopt, [&](const std::string& answer) -> absl::StatusOr<Place> {
        const Place place = PlaceOf(answer, words);
        if (answer.empty() || place) return place;
        return absl::InvalidArgumentError(
            absl::StrCat("The answer must be one of ", absl::StrJoin(words, ", "), "."));
      });
}

template <class T>
T Prompts::AskUntilRight(absl::string_view above, const Prompt& prompt, T offered,
                         const Read<T>& read) {
  while (!over()) {
    Say(above);
    const Line line = console_.Ask(prompt);
    if (line.kind != Line::Kind::kText) {
      last_ = line.kind;
      break;
    }
    absl::StatusOr<T> answer = read(std::string(absl::StripAsciiWhitespace(line.text)));
    console_.Write("\n");
    if (answer.ok()) return *std::move(answer);
    any_wrong_ = true;
    Say(answer.status().message());
  }
  return offered;
}

}  // namespace sluice::tools
