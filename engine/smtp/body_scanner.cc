#include "engine/smtp/body_scanner.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "engine/base/check.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace sluice::smtp {
namespace {

constexpr absl::string_view kHeld = ".\r";

// Controls up to CR are what the scanner looks at: NUL, LF, CR, and the tab, which is rare enough.
constexpr unsigned char kFirstPlain = '\r' + 1;

constexpr uint64_t EachByte(uint64_t byte) {
  return byte * 0x0101010101010101;
}

// The offset of the first byte under kFirstPlain from `offset` on, or the size of `text`. The bytes
// before it are or'ed into `all_bits`.
//
// Eight bytes at a time, which the plain loop below takes one by one: subtracting borrows out of a
// byte that is smaller, and sets its top bit. A borrow reaches the bytes above only from a byte
// that is itself found, so the lowest one found is true; a byte over 127 would show its own top bit
// and is masked out.
size_t FindControlByWords(absl::string_view text, size_t offset, uint8_t& all_bits) {
  static_assert(std::endian::native == std::endian::little, "the first byte must be the lowest");
  uint64_t seen = 0;
  size_t found = text.size();
  for (; offset + 8 <= text.size(); offset += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + offset, sizeof(word));
    const uint64_t hits = (word - EachByte(kFirstPlain)) & ~word & EachByte(0x80);
    if (hits != 0) {
      const int bytes = std::countr_zero(hits) / 8;
      seen |= word & ((uint64_t{1} << (8 * bytes)) - 1);
      found = offset + static_cast<size_t>(bytes);
      break;
    }
    seen |= word;
  }
  for (; found == text.size() && offset < text.size(); ++offset) {
    const auto byte = static_cast<unsigned char>(text[offset]);
    if (byte < kFirstPlain) {
      found = offset;
    } else {
      seen |= byte;
    }
  }
  if ((seen & EachByte(0x80)) != 0) all_bits |= 0x80;
  return found;
}

// The same, sixteen at a time where the processor is sure to have it.
size_t FindControl(absl::string_view text, size_t offset, uint8_t& all_bits) {
#ifdef __SSE2__
  const __m128i last_control = _mm_set1_epi8(kFirstPlain - 1);
  for (; offset + 16 <= text.size(); offset += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + offset));
    const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const auto hits = static_cast<uint32_t>(_mm_movemask_epi8(controls));
    auto high = static_cast<uint32_t>(_mm_movemask_epi8(bytes));  // Over 127.
    if (hits != 0) high &= (hits & (0 - hits)) - 1;
    if (high != 0) all_bits |= 0x80;
    if (hits != 0) return offset + static_cast<size_t>(std::countr_zero(hits));
  }
#endif
  return FindControlByWords(text, offset, all_bits);
}

}  // namespace

uint64_t BodyScanner::longest_line_bytes() const {
  return std::max(longest_line_bytes_, line_bytes_);
}

BodyScanner::Piece BodyScanner::Take(absl::string_view& input) {
  if (input.empty()) return {};
  if (at_ == At::kDot || at_ == At::kDotCr) return ResolveHeld(input);
  size_t offset = 0;
  while (offset < input.size()) {
    if (at_ == At::kLineStart) {
      const absl::string_view rest = input.substr(offset);
      if (absl::StartsWith(rest, ".\r\n")) {
        const Piece piece = {.body = input.substr(0, offset), .ended = true};
        input.remove_prefix(offset + 3);
        body_bytes_ += piece.body.size();
        return piece;
      }
      if (rest == "." || rest == kHeld) {
        at_ = rest == "." ? At::kDot : At::kDotCr;
        break;
      }
      offset = BeginLine(input, offset);
    } else if (at_ == At::kCr) {
      offset = AfterCr(input, offset);
    } else {
      offset = ScanLine(input, offset);
    }
  }
  const Piece piece = {.body = input.substr(0, offset)};
  input = {};
  body_bytes_ += piece.body.size();
  return piece;
}

// The held bytes turn out to be the end, to be text, or to be undecided still.
BodyScanner::Piece BodyScanner::ResolveHeld(absl::string_view& input) {
  if (at_ == At::kDot && input[0] == '\r') {
    at_ = At::kDotCr;
    input.remove_prefix(1);
    if (input.empty()) return {};
  }
  if (at_ == At::kDotCr && input[0] == '\n') {
    input.remove_prefix(1);
    return {.ended = true};
  }
  const absl::string_view held = kHeld.substr(0, at_ == At::kDot ? 1 : 2);
  ++stuffed_dots_;
  body_bytes_ += held.size();
  matching_ = false;
  at_ = held.size() == 1 ? At::kLine : At::kCr;
  return {.body = held};
}

// A dot that is not the end is stuffing, whatever follows it (RFC 5321 4.5.2).
size_t BodyScanner::BeginLine(absl::string_view input, size_t offset) {
  CHECK(line_bytes_ == 0);
  at_ = At::kLine;
  if (input[offset] != '.') return offset;
  ++stuffed_dots_;
  matching_ = false;
  return offset + 1;
}

size_t BodyScanner::ScanLine(absl::string_view input, size_t offset) {
  size_t end = FindControl(input, offset, all_bits_);
  line_bytes_ += end - offset;
  // Beyond the header, where a line ends and the next has begun without a dot, that is all of it.
  while (!in_header_ && end + 2 < input.size() && input[end] == '\r' && input[end + 1] == '\n' &&
         input[end + 2] != '.') {
    longest_line_bytes_ = std::max(longest_line_bytes_, line_bytes_);
    offset = end + 2;
    end = FindControl(input, offset, all_bits_);
    line_bytes_ = end - offset;
  }
  if (in_header_ && matching_) MatchReceived(input.substr(offset, end - offset));
  if (end == input.size()) return end;
  if (input[end] == '\r') {
    at_ = At::kCr;
    return end + 1;
  }
  if (input[end] == '\n') bare_lf_ = true;
  if (input[end] == '\0') nul_ = true;
  ++line_bytes_;
  if (in_header_ && matching_) MatchReceived(input.substr(end, 1));
  return end + 1;
}

size_t BodyScanner::AfterCr(absl::string_view input, size_t offset) {
  if (input[offset] == '\n') {
    EndLine();
    return offset + 1;
  }
  bare_cr_ = true;
  ++line_bytes_;
  matching_ = false;
  at_ = At::kLine;
  return offset;
}

void BodyScanner::EndLine() {
  if (line_bytes_ == 0) in_header_ = false;
  longest_line_bytes_ = std::max(longest_line_bytes_, line_bytes_);
  line_bytes_ = 0;
  matching_ = true;
  matched_ = 0;
  at_ = At::kLineStart;
}

// "Received:" in any case, also with the space before the colon that RFC 5322 4.5.8 still allows.
void BodyScanner::MatchReceived(absl::string_view text) {
  constexpr absl::string_view kName = "received";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (matched_ < kName.size()) {
      matching_ = absl::ascii_tolower(byte) == kName[matched_];
      ++matched_;
    } else if (c == ':') {
      ++received_lines_;
      matching_ = false;
    } else {
      matching_ = absl::ascii_isblank(byte);
    }
    if (!matching_) return;
  }
}

}  // namespace sluice::smtp
