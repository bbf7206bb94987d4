// The end of the data, against an independent model: a search for CRLF.CRLF in the whole text, and
// the body cut into lines. Every short string over CR, LF, dot, a letter and NUL is tried within a
// message, split at every point and byte by byte (case F01); longer texts are drawn from the same
// alphabet.

#include "engine/smtp/body_scanner.h"

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

struct Verdict {
  bool ended = false;
  std::string body;
  size_t left_bytes = 0;
  uint64_t message_bytes = 0;
  uint64_t stuffed_dots = 0;
  uint64_t longest_line_bytes = 0;
  uint32_t received_lines = 0;
  bool eight_bit = false;
  bool bare_cr = false;
  bool bare_lf = false;
  bool nul = false;

  bool operator==(const Verdict&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Verdict& verdict) {
  return out << verdict.ended << " body " << testing::PrintToString(verdict.body) << " left "
             << verdict.left_bytes << " dots " << verdict.stuffed_dots << " longest "
             << verdict.longest_line_bytes << " cr " << verdict.bare_cr << " lf " << verdict.bare_lf
             << " nul " << verdict.nul << " received " << verdict.received_lines;
}

bool IsReceived(absl::string_view line) {
  std::string start(line.substr(0, 8));
  for (char& c : start) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (start != "received") return false;
  const size_t next = line.find_first_not_of(" \t", 8);
  return next != absl::string_view::npos && line[next] == ':';
}

// Of a text that has an end.
Verdict Model(const std::string& text) {
  const std::string whole = absl::StrCat("\r\n", text);  // The DATA command's own CRLF.
  const size_t end = whole.find("\r\n.\r\n");
  Verdict verdict;
  verdict.ended = true;
  verdict.body = text.substr(0, end);
  verdict.left_bytes = text.size() - end - 3;
  bool header = true;
  absl::string_view rest = verdict.body;
  while (!rest.empty()) {
    const size_t line_end = rest.find("\r\n");
    absl::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(line_end + 2);
    const bool stuffed = !line.empty() && line[0] == '.';
    if (line.empty()) header = false;
    if (header && IsReceived(line)) ++verdict.received_lines;
    if (stuffed) line.remove_prefix(1);
    verdict.stuffed_dots += stuffed ? 1 : 0;
    verdict.message_bytes += line.size() + 2;
    verdict.longest_line_bytes = std::max<uint64_t>(verdict.longest_line_bytes, line.size());
    for (const char c : line) {
      if (c == '\r') verdict.bare_cr = true;
      if (c == '\n') verdict.bare_lf = true;
      if (c == '\0') verdict.nul = true;
      if (static_cast<unsigned char>(c) > 127) verdict.eight_bit = true;
    }
  }
  return verdict;
}

// Pieces end at each multiple of `piece_bytes`, and at `split`.
Verdict Scan(absl::string_view text, size_t split, size_t piece_bytes) {
  BodyScanner scanner;
  Verdict verdict;
  size_t given = 0;
  absl::string_view input;
  while (!verdict.ended) {
    if (input.empty()) {
      if (given == text.size()) break;
      const size_t bytes = given < split ? std::min(piece_bytes, split - given) : piece_bytes;
      input = text.substr(given, bytes);
      given += input.size();
    }
    const BodyScanner::Piece piece = scanner.Take(input);
    verdict.body.append(piece.body.data(), piece.body.size());
    verdict.ended = piece.ended;
    EXPECT_TRUE(piece.ended || !piece.body.empty() || input.empty());
  }
  verdict.left_bytes = input.size() + text.size() - given;
  verdict.message_bytes = scanner.message_bytes();
  verdict.stuffed_dots = scanner.stuffed_dots();
  verdict.longest_line_bytes = scanner.longest_line_bytes();
  verdict.received_lines = scanner.received_lines();
  verdict.eight_bit = scanner.eight_bit();
  verdict.bare_cr = scanner.bare_cr();
  verdict.bare_lf = scanner.bare_lf();
  verdict.nul = scanner.nul();
  return verdict;
}

void ExpectModel(const std::string& text) {
  const Verdict model = Model(text);
  for (size_t split = 0; split <= text.size(); ++split) {
    ASSERT_EQ(Scan(text, split, text.size()), model)
        << testing::PrintToString(text) << " split at " << split;
  }
  ASSERT_EQ(Scan(text, 0, 1), model) << testing::PrintToString(text) << " byte by byte";
}

constexpr absl::string_view kAlphabet("\r\n.a\0", 5);

TEST(BodyScanner, FindsTheModelsEndForEveryShortString) {
  for (size_t length = 0, count = 1; length <= 6; ++length, count *= kAlphabet.size()) {
    for (size_t number = 0; number < count; ++number) {
      std::string text;
      for (size_t i = 0, rest = number; i < length; ++i, rest /= kAlphabet.size()) {
        text += kAlphabet[rest % kAlphabet.size()];
      }
      // Within a line, and where the data begins.
      ExpectModel(absl::StrCat("x", text, "z\r\n.\r\nQ"));
      ExpectModel(absl::StrCat(text, "z\r\n.\r\nQ"));
      if (HasFatalFailure()) return;
    }
  }
}

// Long enough that the fast search takes its eight bytes in every alignment.
TEST(BodyScanner, AgreesWithTheModelOnLongerTexts) {
  std::minstd_rand random(2821);
  constexpr absl::string_view kAny("\r\n.a\0\t\x7f\x80\xff", 9);
  constexpr absl::string_view kLetters = "abcdefgh :";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    const size_t bytes = random() % 80;
    while (text.size() < bytes) {
      const unsigned kind = random() % 8;
      if (kind == 0) text += "\r\n";
      if (kind == 1) text += kAny[random() % kAny.size()];
      if (kind == 2) text += "Received:";
      if (kind > 2) text += kLetters[random() % kLetters.size()];
    }
    ExpectModel(absl::StrCat(text, "\r\n.\r\nQUIT\r\n"));
    if (HasFatalFailure()) return;
  }
}

TEST(BodyScanner, TakesAnImmediateDotForAnEmptyMessage) {
  absl::string_view input = ".\r\nQUIT\r\n";
  BodyScanner scanner;
  const BodyScanner::Piece piece = scanner.Take(input);
  EXPECT_TRUE(piece.ended);
  EXPECT_EQ(piece.body, "");
  EXPECT_EQ(input, "QUIT\r\n");
  EXPECT_EQ(scanner.message_bytes(), 0u);
}

// H13.
TEST(BodyScanner, CountsEachStuffedDotOnce) {
  const Verdict verdict = Scan("..\r\n...\r\n.a\r\na.\r\n.\r\n", 0, 100);
  EXPECT_EQ(verdict.body, "..\r\n...\r\n.a\r\na.\r\n");
  EXPECT_EQ(verdict.stuffed_dots, 3u);
  EXPECT_EQ(verdict.message_bytes, verdict.body.size() - 3);
}

TEST(BodyScanner, MeasuresAnUnfinishedLine) {
  absl::string_view input = "a\r\nbcd";
  BodyScanner scanner;
  scanner.Take(input);
  EXPECT_EQ(scanner.longest_line_bytes(), 3u);
}

TEST(BodyScanner, FindsAnEightBitByteAtEveryPosition) {
  for (size_t position = 0; position < 20; ++position) {
    std::string text(20, 'a');
    text[position] = '\x80';
    EXPECT_TRUE(Scan(text + "\r\n.\r\n", 0, 100).eight_bit) << position;
  }
  // What stands behind the end is not the message's.
  EXPECT_FALSE(Scan("a\r\n.\r\n\xff", 0, 100).eight_bit);
}

TEST(BodyScanner, CountsReceivedLinesOfTheHeaderOnly) {
  const std::string text =
      "Received: a\r\nRECEIVED\t : b\r\n Received: folded\r\nReceived-SPF: no\r\n"
      "X-Received: no\r\nReceive: no\r\nreceived:\r\n\r\nReceived: text\r\n.\r\n";
  EXPECT_EQ(Model(text).received_lines, 3u);
  ExpectModel(text);
}

// F20.
TEST(BodyScanner, BearsAMillionHeaderLines) {
  std::string text;
  for (int i = 0; i < 1'000'000; ++i) text += "Received: x\r\n";
  text += ".\r\n";
  EXPECT_EQ(Scan(text, 0, 16384).received_lines, 1'000'000u);
}

}  // namespace
}  // namespace sluice::smtp
