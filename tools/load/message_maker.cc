#include "tools/load/message_maker.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/trace.h"

namespace sluice::tools {
namespace {

constexpr size_t kLineBytes = 78;  // With CRLF.
constexpr size_t kDottedLineEvery = 16;
constexpr absl::string_view kEnd = "\r\n.\r\n";
constexpr absl::string_view kCrlf = "\r\n";

// A body of `bytes` is the first `bytes` - 2 of this and CRLF. Bytes 77 and 78 of each line are
// CRLF, so that a cut there must move: CutOf.
std::string PlainText(size_t bytes) {
  std::string text;
  for (size_t line = 0; text.size() < bytes; ++line) {
    const bool dotted = line % kDottedLineEvery == kDottedLineEvery - 1;
    if (dotted) text.push_back('.');
    const size_t letters = kLineBytes - kCrlf.size() - dotted;
    for (size_t i = 0; i < letters; ++i) {
      text.push_back(static_cast<char>('a' + (line * 7 + i * 5 + i / 11) % 26));
    }
    text.append(kCrlf.data(), kCrlf.size());
  }
  return text;
}

std::string Stuffed(absl::string_view text) {
  std::string stuffed;
  for (size_t at = 0; at < text.size(); at += kLineBytes) {
    if (text[at] == '.') stuffed.push_back('.');
    const absl::string_view line = text.substr(at, kLineBytes);
    stuffed.append(line.data(), line.size());
  }
  return stuffed;
}

// Where the text may be cut at `bytes` or a little before: not behind a CR, nor behind a CRLF,
// where the CRLF that ends the body would make an empty line less or more than the size asks for.
size_t CutOf(size_t bytes) {
  const size_t in_line = bytes % kLineBytes;
  if (in_line == kLineBytes - 1) return bytes - 1;
  if (in_line == 0) return bytes - kCrlf.size();
  return bytes;
}

// Lines that begin in the first `bytes` of the text with a dot that is stuffed.
size_t StuffedDotsIn(size_t bytes) {
  const size_t lines = (bytes + kLineBytes - 1) / kLineBytes;
  return lines / kDottedLineEvery;
}

}  // namespace

MessageMaker::MessageMaker(const Options& options) {
  CHECK(!options.sizes_bytes.empty());
  const auto longest = std::max_element(options.sizes_bytes.begin(), options.sizes_bytes.end());
  plain_text_ = PlainText(*longest);
  text_ = Stuffed(plain_text_);
  for (const uint64_t bytes : options.sizes_bytes) models_.push_back(MakeModel(options, bytes));
  plain_text_ = {};
}

MessageMaker::Model MessageMaker::MakeModel(const Options& options, uint64_t bytes) const {
  const ProbeId none;
  const std::string sender = options.sender.empty() ? "postmaster@load.example" : options.sender;
  const std::string front = absl::StrCat(
      "From: <", sender, ">\r\nTo: undisclosed-recipients:;\r\n", "Subject: a test message of ",
      bytes, " bytes\r\n", "Date: ", smtp::MailDate(options.now), "\r\nMessage-ID: <");
  const std::string back = "@load.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n";
  const auto header_of = [&](const Probe& probe) {
    return absl::StrCat(front, none.ToString(), back, probe.ToHeaderLine(), kCrlf);
  };
  // The probe line's own length depends on the digits of the body's: a second guess is right.
  uint64_t room = bytes;
  for (int guess = 0; guess < 2; ++guess) {
    const size_t header_bytes = header_of({.body_bytes = room}).size();
    room = bytes > header_bytes + kCrlf.size() ? bytes - header_bytes : kCrlf.size() + 1;
  }
  const size_t cut = std::max(CutOf(room - kCrlf.size()), size_t{1});

  const std::string body = absl::StrCat(absl::string_view(plain_text_).substr(0, cut), kCrlf);
  const uint64_t hash = XXH3_64bits(body.data(), body.size());
  Model model;
  model.header = header_of({.body_bytes = body.size(), .body_hash = hash});
  model.message_id_at = front.size();
  model.probe_id_at = model.header.find(none.ToString(), front.size() + kProbeIdDigits);
  model.wire_bytes = cut + StuffedDotsIn(cut);
  model.bytes = model.header.size() + body.size();
  return model;
}

void MessageMaker::Make(const ProbeId& id, size_t size_index, MadeMessage& message) const {
  const Model& model = models_[size_index];
  const auto digits = id.ToDigits();
  message.header.assign(model.header);
  std::memcpy(message.header.data() + model.message_id_at, digits.data(), digits.size());
  std::memcpy(message.header.data() + model.probe_id_at, digits.data(), digits.size());
  message.body = absl::string_view(text_).substr(0, model.wire_bytes);
  message.end = kEnd;
  message.bytes = model.bytes;
}

}  // namespace sluice::tools
