#include "engine/smtp/reply.h"

#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace sluice::smtp {
namespace {

// What a reply's text may keep from one connection to the next: a hostile server's 64 KiB must not
// stay with the slot that once talked to it.
constexpr size_t kKeptBytesMax = 4 << 10;

// "451" -> 451; nothing unless three digits, the first of them 2 to 5 (RFC 5321 4.2).
std::optional<int> ParseCode(absl::string_view line) {
  if (line.size() < 3) return std::nullopt;
  if (line[0] < '2' || line[0] > '5') return std::nullopt;
  if (!absl::ascii_isdigit(line[1]) || !absl::ascii_isdigit(line[2])) return std::nullopt;
  return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

// One to three digits from the front of `text`.
std::optional<uint16_t> TakeNumber(absl::string_view& text) {
  uint16_t number = 0;
  size_t digits = 0;
  while (digits < text.size() && digits < 4 && absl::ascii_isdigit(text[digits])) {
    number = static_cast<uint16_t>(number * 10 + (text[digits++] - '0'));
  }
  if (digits == 0 || digits > 3) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

bool TakeDot(absl::string_view& text) {
  if (text.empty() || text.front() != '.') return false;
  text.remove_prefix(1);
  return true;
}

// An enhanced code at the front of `text` (RFC 3463 2), with the space after it. None unless its
// class is the first digit of the reply, which RFC 2034 4 asks for; then `text` stays.
EnhancedCode TakeEnhanced(absl::string_view& text, int code) {
  if (text.size() < 5 || text[1] != '.' || text[0] != '0' + code / 100) return {};
  if (text[0] == '3') return {};  // There is no such class.
  absl::string_view rest = text.substr(2);
  const std::optional<uint16_t> subject = TakeNumber(rest);
  if (!subject || !TakeDot(rest)) return {};
  const std::optional<uint16_t> detail = TakeNumber(rest);
  if (!detail) return {};
  if (!rest.empty() && rest.front() != ' ') return {};
  if (!rest.empty()) rest.remove_prefix(1);
  text = rest;
  return {static_cast<uint16_t>(code / 100), *subject, *detail};
}

}  // namespace

std::string EnhancedCode::ToString() const {
  if (!*this) return "";
  return absl::StrCat(status_class, ".", subject, ".", detail);
}

std::string Reply::ToString() const {
  if (code == 0) return "";
  std::string line = absl::StrCat(code);
  if (enhanced) absl::StrAppend(&line, " ", enhanced.ToString());
  if (!text.empty()) line += ' ';
  for (const char c : text) {
    if (c == '\n') {
      line += " / ";
    } else {
      line += absl::ascii_iscntrl(static_cast<unsigned char>(c)) ? '?' : c;
    }
  }
  return line;
}

void Reply::Reset() {
  code = 0;
  enhanced = {};
  text.clear();
  if (text.capacity() > kKeptBytesMax) text.shrink_to_fit();
}

void ReplyParser::Reset() {
  line_.clear();
  reply_.Reset();
  lines_ = 0;
  bytes_ = 0;
}

ReplyParser::Status ReplyParser::Take(absl::string_view& input) {
  while (!input.empty()) {
    const size_t end = input.find('\n');
    const absl::string_view piece = input.substr(0, end);
    // One more than a line may have, for a CR.
    if (line_.size() + piece.size() > kLineBytesMax + 1) return Status::kMalformed;
    if (end == absl::string_view::npos) {
      line_.append(piece.data(), piece.size());
      input = {};
      return Status::kNeedMore;
    }
    input.remove_prefix(end + 1);
    Status status;
    if (line_.empty()) {
      status = TakeLine(piece);
    } else {
      line_.append(piece.data(), piece.size());
      status = TakeLine(line_);
      line_.clear();
    }
    if (status != Status::kNeedMore) return status;
  }
  return Status::kNeedMore;
}

// `line` is without its LF.
ReplyParser::Status ReplyParser::TakeLine(absl::string_view line) {
  ++lines_;
  bytes_ += line.size() + 1;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.size() > kLineBytesMax) return Status::kMalformed;
  if (lines_ > kLinesMax) return Status::kMalformed;
  if (bytes_ > kReplyBytesMax) return Status::kMalformed;
  if (std::memchr(line.data(), '\0', line.size()) != nullptr) return Status::kMalformed;

  const std::optional<int> code = ParseCode(line);
  if (!code) return Status::kMalformed;
  const char separator = line.size() > 3 ? line[3] : ' ';
  if (separator != ' ' && separator != '-') return Status::kMalformed;
  if (lines_ == 1) {
    reply_.code = *code;
    reply_.enhanced = {};
    reply_.text.clear();
  }
  if (reply_.code != *code) return Status::kMalformed;
  TakeText(line.size() > 4 ? line.substr(4) : absl::string_view());
  if (separator == '-') return Status::kNeedMore;
  lines_ = 0;
  bytes_ = 0;
  return Status::kReply;
}

void ReplyParser::TakeText(absl::string_view text) {
  // Every line of a reply carries the enhanced code (RFC 2034 3). Another one in a later line is
  // taken for words.
  absl::string_view words = text;
  const EnhancedCode enhanced = TakeEnhanced(words, reply_.code);
  if (enhanced && !reply_.enhanced) reply_.enhanced = enhanced;
  if (!(enhanced == reply_.enhanced)) words = text;
  if (lines_ > 1) reply_.text += '\n';
  reply_.text.append(words.data(), words.size());
}

}  // namespace sluice::smtp
