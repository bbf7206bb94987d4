// ParseExtensions on the text of any reply that the parser lets through.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/smtp/extensions.h"
#include "engine/smtp/reply.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::smtp::Extensions;
  using sluice::smtp::ReplyParser;
  ReplyParser parser;
  absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (!bytes.empty() && parser.Take(bytes) == ReplyParser::Status::kReply) {
    const Extensions extensions = sluice::smtp::ParseExtensions(parser.reply());
    if (extensions.size_max > 0) CHECK(extensions.size);
    CHECK(extensions.mail_max <= 999999);
    CHECK(extensions.recipients_max <= 999999);
  }
  return 0;
}
