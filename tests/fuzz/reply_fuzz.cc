// ReplyParser on any bytes, whole and in pieces whose sizes the input's first byte chooses. Both
// must read the same replies, each within the bounds; what is written for logs must be one line.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/smtp/reply.h"

namespace sluice::smtp {
namespace {

struct Read {
  std::vector<std::string> replies;
  bool malformed = false;
};

void CheckReply(const Reply& reply) {
  CHECK(reply.code >= 200);
  CHECK(reply.code <= 599);
  CHECK(reply.text.size() <= ReplyParser::kReplyBytesMax);
  if (reply.enhanced) CHECK(reply.enhanced.status_class == reply.code / 100);
  for (const char c : reply.ToString()) CHECK(!absl::ascii_iscntrl(static_cast<unsigned char>(c)));
}

Read ReadAll(absl::string_view bytes, size_t piece_bytes) {
  ReplyParser parser;
  Read read;
  while (!bytes.empty()) {
    const absl::string_view whole = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(whole.size());
    absl::string_view piece = whole;
    while (!piece.empty()) {
      const size_t before = piece.size();
      const ReplyParser::Status status = parser.Take(piece);
      if (status == ReplyParser::Status::kMalformed) {
        read.malformed = true;
        return read;
      }
      CHECK(piece.size() < before);
      if (status == ReplyParser::Status::kNeedMore) break;
      CheckReply(parser.reply());
      read.replies.push_back(parser.reply().ToString());
    }
  }
  return read;
}

}  // namespace
}  // namespace sluice::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::smtp::ReadAll;
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = ReadAll(bytes, bytes.size() + 1);
  const auto pieces = ReadAll(bytes, 1 + data[0] % 16);
  CHECK(whole.replies == pieces.replies);
  CHECK(whole.malformed == pieces.malformed);
  return 0;
}
