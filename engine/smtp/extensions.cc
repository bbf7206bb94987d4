#include "engine/smtp/extensions.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace sluice::smtp {
namespace {

// RFC 9422 4: a limit has at most six digits.
constexpr size_t kLimitDigitsMax = 6;

// The next word of `line`, and past it; "" at the end.
absl::string_view TakeWord(absl::string_view& line) {
  constexpr absl::string_view kSpaces =
      " \t\r";  // A CR may stand before another CR that ends a line.
  const size_t begin = line.find_first_not_of(kSpaces);
  if (begin == absl::string_view::npos) {
    line = {};
    return {};
  }
  line.remove_prefix(begin);
  const absl::string_view word = line.substr(0, line.find_first_of(kSpaces));
  line.remove_prefix(word.size());
  return word;
}

absl::string_view TakeLine(absl::string_view& text) {
  const size_t end = text.find('\n');
  const absl::string_view line = text.substr(0, end);
  text.remove_prefix(end == absl::string_view::npos ? text.size() : end + 1);
  return line;
}

// Digits only: SimpleAtoi would take a sign. None for what is no number, or does not fit.
std::optional<uint64_t> ParseNumber(absl::string_view word) {
  if (word.empty()) return std::nullopt;
  for (const char c : word) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(word, &number)) return std::nullopt;
  return number;
}

void SetLimit(uint32_t& limit, absl::string_view value) {
  if (value.size() > kLimitDigitsMax) return;
  limit = static_cast<uint32_t>(ParseNumber(value).value_or(limit));
}

// "MAILMAX=5 RCPTMAX=2 RCPTDOMAINMAX=1". The last is not kept: the recipients of one transaction
// are of one destination.
void ParseLimits(absl::string_view words, Extensions& extensions) {
  for (absl::string_view word = TakeWord(words); !word.empty(); word = TakeWord(words)) {
    const size_t equals = word.find('=');
    if (equals == absl::string_view::npos) continue;
    const absl::string_view name = word.substr(0, equals);
    const absl::string_view value = word.substr(equals + 1);
    if (absl::EqualsIgnoreCase(name, "MAILMAX")) SetLimit(extensions.mail_max, value);
    if (absl::EqualsIgnoreCase(name, "RCPTMAX")) SetLimit(extensions.recipients_max, value);
  }
}

void ParseExtension(absl::string_view line, Extensions& extensions) {
  const absl::string_view keyword = TakeWord(line);
  const auto is = [keyword](absl::string_view name) {
    return absl::EqualsIgnoreCase(keyword, name);
  };
  if (is("PIPELINING")) extensions.pipelining = true;
  if (is("8BITMIME")) extensions.eight_bit_mime = true;
  if (is("ENHANCEDSTATUSCODES")) extensions.enhanced_status_codes = true;
  if (is("DSN")) extensions.dsn = true;
  if (is("STARTTLS")) extensions.starttls = true;
  if (is("CHUNKING")) extensions.chunking = true;
  if (is("SMTPUTF8")) extensions.smtputf8 = true;
  if (is("LIMITS")) ParseLimits(line, extensions);
  if (is("SIZE")) {
    extensions.size = true;
    extensions.size_max = ParseNumber(TakeWord(line)).value_or(0);
  }
}

}  // namespace

Extensions ParseExtensions(const Reply& reply) {
  Extensions extensions;
  absl::string_view text = reply.text;
  TakeLine(text);
  while (!text.empty()) ParseExtension(TakeLine(text), extensions);
  return extensions;
}

}  // namespace sluice::smtp
