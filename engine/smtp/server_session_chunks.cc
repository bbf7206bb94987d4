// BDAT as the server takes it (RFC 3030): where a chunk may come, whose its octets are, and how
// they become what DATA would have carried.

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/server_session.h"

namespace sluice::smtp {

ServerEvent ServerSession::ObeyBdat(absl::string_view argument) {
  const std::optional<BdatCommand> bdat = ParseBdat(argument);
  if (!options_.offer_chunking) {
    SayBad(kNotImplemented);
  } else if (!bdat) {
    Close(kBadArgument);  // What follows may be octets, and nobody knows how many.
  } else {
    chunk_ = *bdat;
    octets_left_ = bdat->octets;
    return BeginChunk();
  }
  return ServerEvent::kNeedInput;
}

ServerEvent ServerSession::BeginChunk() {
  if (phase_ == Phase::kBetweenChunks) {
    phase_ = Phase::kChunk;
  } else if (!esmtp_) {
    RefuseChunk("503 5.5.1 Send EHLO first");
  } else if (phase_ != Phase::kEnvelope) {
    RefuseChunk(kOutOfOrder);
  } else if (envelope_.recipients.empty()) {
    RefuseChunk(kNoRecipients);
  } else {
    return Ask(Verdict::kFirstChunk, ServerEvent::kData);
  }
  return ServerEvent::kNeedInput;
}

// A transaction has failed with its first refused chunk: if it could go on, with another recipient
// for instance, the message would lack this one (C45).
void ServerSession::RefuseChunk(absl::string_view reply) {
  chunk_refusal_ = std::string(reply);
  phase_after_chunk_ = in_transaction() ? Phase::kFailed : phase_;
  phase_ = Phase::kRefusedChunk;
}

// RFC 3030 2: the octets are discarded before the refusal is said. Chunks that were on their way
// when one was refused are no bad commands.
ServerEvent ServerSession::NextOfRefusedChunk(absl::string_view& input) {
  const uint64_t swallowed = std::min<uint64_t>(input.size(), octets_left_);
  input.remove_prefix(swallowed);
  octets_left_ -= swallowed;
  if (octets_left_ > 0) return ServerEvent::kNeedInput;
  phase_ = phase_after_chunk_;
  phase_ == Phase::kFailed ? Say(chunk_refusal_) : SayBad(chunk_refusal_);
  return ServerEvent::kNeedInput;
}

ServerEvent ServerSession::NextOfChunk(absl::string_view& input) {
  while (!body_ended_) {
    BodyScanner::Piece piece;
    if (octets_left_ > 0) {
      if (input.empty()) return ServerEvent::kNeedInput;
      piece = TakeOctets(input);
    } else if (chunk_.last) {
      piece = TakeEndOfChunks();
    } else {
      return EndChunk();
    }
    body_ended_ = piece.ended;
    if (!piece.body.empty() && ContentRefusal().empty()) {
      body_bytes_ = piece.body;
      return ServerEvent::kBody;
    }
  }
  return EndBody();
}

// Octets up to a line that begins with a dot: that dot gets another before it (C44 has none on the
// wire). Whether the line feed ended a line only the scanner knows, so each one before a dot parts.
BodyScanner::Piece ServerSession::TakeOctets(absl::string_view& input) {
  if (scanner_.at_line_start() && input[0] == '.') {
    absl::string_view stuffing = ".";
    const BodyScanner::Piece held = scanner_.Take(stuffing);
    CHECK(held.body.empty());
    CHECK(!held.ended);
  }
  absl::string_view octets = input.substr(0, octets_left_);
  const size_t newline = octets.find("\n.");
  if (newline != octets.npos) octets = octets.substr(0, newline + 1);
  const size_t given = octets.size();
  const BodyScanner::Piece piece = scanner_.Take(octets);
  CHECK(!piece.ended);  // Behind CRLF it has seen two dots, or none.
  const size_t taken = given - octets.size();
  input.remove_prefix(taken);
  octets_left_ -= taken;
  return piece;
}

BodyScanner::Piece ServerSession::TakeEndOfChunks() {
  absl::string_view end = scanner_.at_line_start() ? ".\r\n" : "\r\n.\r\n";
  const BodyScanner::Piece piece = scanner_.Take(end);
  CHECK(piece.ended);
  return piece;
}

// Of a chunk that is not the last.
ServerEvent ServerSession::EndChunk() {
  body_bytes_ = {};
  const absl::string_view refusal = ContentRefusal();
  if (refusal.empty()) {
    phase_ = Phase::kBetweenChunks;
    Say(absl::StrCat("250 2.0.0 ", chunk_.octets, " octets received"));
    return ServerEvent::kNeedInput;
  }
  phase_ = Phase::kFailed;
  Say(refusal);
  return ServerEvent::kMessageDropped;
}

}  // namespace sluice::smtp
