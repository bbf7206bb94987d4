// Dialogues with BDAT (RFC 3030), for tests: chunks, the envelope before them, and what is said.
//
// All are short, and held in pieces of every size.

#pragma once

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/engine/smtp/server_dialogue.h"

namespace sluice::smtp {

inline constexpr absl::string_view kEnvelope =
    "EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";
inline constexpr absl::string_view kOk = "250 2.0.0 Ok\r\n";
inline constexpr absl::string_view kTaken = "250 2.0.0 Ok: queued as 17\r\n";
inline constexpr absl::string_view kOutOfOrder = "503 5.5.1 Bad sequence of commands\r\n";
inline constexpr absl::string_view kBadArgument = "501 5.5.4 Syntax error in the argument\r\n";
inline constexpr absl::string_view kBye = "221 2.0.0 mx.example.net closing connection\r\n";

inline ServerSession::Options WithChunks() {
  ServerSession::Options options = LocalClient();
  options.offer_chunking = true;
  return options;
}

inline std::string Chunk(absl::string_view octets) {
  return absl::StrCat("BDAT ", octets.size(), "\r\n", octets);
}
inline std::string LastChunk(absl::string_view octets) {
  return absl::StrCat("BDAT ", octets.size(), " LAST\r\n", octets);
}
inline std::string Received(size_t octets) {
  return absl::StrCat("250 2.0.0 ", octets, " octets received\r\n");
}

inline Transcript Talk(absl::string_view sent, ServerSession::Options options = WithChunks()) {
  return ServerDialogue(options).InPiecesOfEverySize().Talk(sent);
}

// What is said behind the envelope.
inline std::string SaidAfter(const Transcript& transcript, absl::string_view envelope = kEnvelope) {
  const std::string before = Talk(envelope).said;
  EXPECT_EQ(transcript.said.substr(0, before.size()), before);
  return transcript.said.substr(before.size());
}

inline Transcript Deliver(absl::string_view chunks, ServerSession::Options options = WithChunks()) {
  return Talk(absl::StrCat(kEnvelope, chunks), options);
}
inline std::string Replies(absl::string_view chunks) {
  return SaidAfter(Deliver(chunks));
}

}  // namespace sluice::smtp
