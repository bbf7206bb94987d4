// SMTP replies (RFC 5321 4.2): as a value, and a parser for what a server sends.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::smtp {

// RFC 3463. {0,0,0} when the reply has none, or one whose class is not the reply's (RFC 2034 4: the
// basic code decides, as for "550 4.3.2").
struct EnhancedCode {
  uint16_t status_class = 0;
  uint16_t subject = 0;
  uint16_t detail = 0;

  bool operator==(const EnhancedCode&) const = default;
  explicit operator bool() const { return status_class != 0; }
  std::string ToString() const;  // "5.1.1", or "" for none.
};

struct Reply {
  int code = 0;  // 200-599. 0: no reply.
  EnhancedCode enhanced;
  // The lines' texts without code and enhanced code, joined by '\n'. An enhanced code of the wrong
  // class stays in the text, so that it is logged (P28).
  std::string text;

  bool positive() const { return code >= 200 && code < 300; }
  bool intermediate() const { return code >= 300 && code < 400; }
  bool transient() const { return code >= 400 && code < 500; }
  bool permanent() const { return code >= 500; }
  bool closing() const { return code == 421; }

  void Reset();  // To no reply, for another connection; a usual text's capacity is kept.

  bool operator==(const Reply&) const = default;

  // On one line: "550 5.1.1 no such user / try another". Controls become '?', as a remote text must
  // not write to a terminal (F26). "" for no reply.
  std::string ToString() const;
};

// Takes the bytes of a server one reply at a time. Bounded whatever is sent (fault F05).
//
// Accepts more than the grammar where servers are known to be lax: a line that ends in LF alone,
// "250" without text, any case. Refuses as malformed, since a reply that is misread can be taken
// for the answer to the dot: no three digits, a first digit outside 2-5, codes that differ within
// one multi-line reply, another character than ' ' or '-' after the code, NUL, and anything over
// the bounds below. After kMalformed the parser is of no more use and the session ends.
class ReplyParser {
 public:
  static constexpr size_t kLineBytesMax = 2048;  // Without its end. RFC 5321 asks for 512 with it;
                                                 // Postfix's line_length_limit.
  static constexpr size_t kLinesMax = 128;
  static constexpr size_t kReplyBytesMax = 64 << 10;  // With the lines' ends.

  enum class Status : uint8_t { kNeedMore, kReply, kMalformed };

  // Forgets everything: a new connection begins.
  void Reset();

  // Consumes from the front of `input`. On kReply `reply()` is whole and the rest of `input`
  // belongs to the next one.
  Status Take(absl::string_view& input);
  const Reply& reply() const { return reply_; }

  // Whether part of a reply has been taken.
  bool partial() const { return lines_ > 0 || !line_.empty(); }

 private:
  Status TakeLine(absl::string_view line);
  void TakeText(absl::string_view text);

  std::string line_;  // The front of a line whose end has not come.
  Reply reply_;
  size_t lines_ = 0;  // Of the reply that is being taken.
  size_t bytes_ = 0;
};

}  // namespace sluice::smtp
