// Finds the end of a message in what DATA carries, and notes on the way what decides whether it may
// be accepted.
//
// The end is exactly CRLF.CRLF (RFC 5321 4.1.1.4), of which the first CRLF may be the DATA
// command's. No other sequence ends it, whatever a laxer server makes of it (SMTP smuggling, case
// F01): a bare CR or LF is counted, and the text goes on.
//
// Bytes are handed back as they came, stuffing and all. At most ".\r" is held back between two
// pieces of input, since only what follows says whether it is the end.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice::smtp {

class BodyScanner {
 public:
  struct Piece {
    absl::string_view body = {};  // The next bytes of the body. Lent by the input, or a constant.
    bool ended = false;           // The end of the data came after them, and has been taken.
  };

  // Takes from the front of `input`. An empty piece that is not the end: all of it was taken, or
  // held.
  Piece Take(absl::string_view& input);

  // --- What was seen so far. Lines and bytes are the message's, without stuffing.
  uint64_t message_bytes() const { return body_bytes_ - stuffed_dots_; }
  uint64_t stuffed_dots() const { return stuffed_dots_; }
  uint64_t longest_line_bytes() const;  // Without CRLF; the unfinished line counts.
  uint32_t received_lines() const { return received_lines_; }   // In the header section.
  bool at_line_start() const { return at_ == At::kLineStart; }  // Nothing is held.
  bool eight_bit() const { return (all_bits_ & 0x80) != 0; }
  bool bare_cr() const { return bare_cr_; }
  bool bare_lf() const { return bare_lf_; }
  bool nul() const { return nul_; }

 private:
  enum class At : uint8_t {
    kLineStart,  // After CRLF, or before the first byte.
    kDot,        // A dot at the start of a line is held back.
    kDotCr,      // ".\r" is.
    kLine,       // Within a line.
    kCr,         // Within a line, after a CR.
  };

  Piece ResolveHeld(absl::string_view& input);
  // Return where they stopped, at an offset beyond `offset`.
  size_t BeginLine(absl::string_view input, size_t offset);
  size_t ScanLine(absl::string_view input, size_t offset);
  size_t AfterCr(absl::string_view input, size_t offset);
  void EndLine();
  void MatchReceived(absl::string_view text);

  At at_ = At::kLineStart;
  bool in_header_ = true;
  bool matching_ = true;  // This header line may still be a Received line.
  uint8_t matched_ = 0;   // Bytes of "received" seen.
  bool bare_cr_ = false;
  bool bare_lf_ = false;
  bool nul_ = false;
  uint8_t all_bits_ = 0;  // All bytes, or'ed.
  uint32_t received_lines_ = 0;
  uint64_t body_bytes_ = 0;  // Handed back.
  uint64_t stuffed_dots_ = 0;
  uint64_t line_bytes_ = 0;
  uint64_t longest_line_bytes_ = 0;
};

}  // namespace sluice::smtp
