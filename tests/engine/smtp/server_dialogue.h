// A client's whole dialogue with a ServerSession, for tests: what the client sends goes in, what
// was said and which messages were taken come out.
//
// Every dialogue is held three times, with the text in one piece, in pieces of seven bytes and byte
// by byte, and must come out the same; if asked for, in pieces of every other size, too.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/smtp/server_session.h"

namespace sluice::smtp {

struct TakenMessage {
  Envelope envelope;
  std::string body;  // As DATA carried it.
  uint64_t message_bytes = 0;
  uint64_t stuffed_dots = 0;
  bool eight_bit = false;
};

struct Transcript {
  std::string said;
  std::vector<TakenMessage> accepted;
  std::vector<std::string> dropped_bodies;
  std::vector<ServerEvent> asked;  // Events that needed a verdict, in order.
  bool closed = false;
  std::string unread;  // Input that was not taken.
};

inline ServerSession::Options LocalClient() {
  ServerSession::Options options;
  options.hostname = "mx.example.net";
  return options;
}

inline constexpr absl::string_view kGreeting = "220 mx.example.net ESMTP Sluice\r\n";

class ServerDialogue {
 public:
  // "" accepts; else the reply that refuses.
  using Verdict = std::function<std::string(ServerEvent, ServerSession&)>;

  explicit ServerDialogue(ServerSession::Options options = LocalClient()) : options_(options) {}
  ServerDialogue& Answering(Verdict verdict) {
    verdict_ = std::move(verdict);
    return *this;
  }

  ServerDialogue& InPiecesOfEverySize() {
    every_size_ = true;
    return *this;
  }

  Transcript Talk(absl::string_view sent) {
    const Transcript whole = TalkInPieces(sent, sent.size() + 1);
    for (size_t piece_bytes = 1; piece_bytes <= std::max(size_t{7}, sent.size()); ++piece_bytes) {
      if (!every_size_ && piece_bytes != 7 && piece_bytes != 1) continue;
      const Transcript pieces = TalkInPieces(sent, piece_bytes);
      EXPECT_EQ(pieces.said, whole.said) << "in pieces of " << piece_bytes;
      EXPECT_EQ(pieces.closed, whole.closed);
      EXPECT_EQ(pieces.asked, whole.asked);
      EXPECT_EQ(pieces.accepted.size(), whole.accepted.size());
      for (size_t i = 0; i < std::min(pieces.accepted.size(), whole.accepted.size()); ++i) {
        EXPECT_EQ(pieces.accepted[i].body, whole.accepted[i].body);
        EXPECT_EQ(pieces.accepted[i].stuffed_dots, whole.accepted[i].stuffed_dots);
      }
      EXPECT_EQ(pieces.dropped_bodies.size(), whole.dropped_bodies.size());
      EXPECT_EQ(pieces.unread, whole.unread);
    }
    return whole;
  }

  // What is said after the greeting.
  std::string Replies(absl::string_view sent) {
    const std::string said = Talk(sent).said;
    EXPECT_EQ(said.substr(0, kGreeting.size()), kGreeting);
    return said.substr(std::min(said.size(), kGreeting.size()));
  }

 private:
  Transcript TalkInPieces(absl::string_view sent, size_t piece_bytes) {
    Transcript transcript;
    ServerSession session;
    session.Begin(options_);
    std::string body;
    absl::string_view input;
    size_t given = 0;
    for (;;) {
      switch (const ServerEvent event = session.Next(input)) {
        case ServerEvent::kNeedInput:
          EXPECT_TRUE(input.empty());
          Take(session, transcript);
          if (given == sent.size()) return transcript;
          input = sent.substr(given, piece_bytes);
          given += input.size();
          break;
        case ServerEvent::kBody:
          EXPECT_FALSE(session.body_bytes().empty());
          body.append(session.body_bytes().data(), session.body_bytes().size());
          break;
        case ServerEvent::kMessageDropped:
          transcript.dropped_bodies.push_back(std::exchange(body, ""));
          break;
        case ServerEvent::kClose:
          Take(session, transcript);
          transcript.closed = true;
          transcript.unread = std::string(input) + std::string(sent.substr(given));
          return transcript;
        case ServerEvent::kMail:
        case ServerEvent::kRecipient:
        case ServerEvent::kData:
        case ServerEvent::kMessage:
          Answer(event, session, body, transcript);
          break;
        case ServerEvent::kStartTls:
          ADD_FAILURE() << "STARTTLS is not offered";
          return transcript;
        case ServerEvent::kWaiting:
          ADD_FAILURE() << "waits, and every verdict was given";
          return transcript;
      }
    }
  }

  void Answer(ServerEvent event, ServerSession& session, std::string& body,
              Transcript& transcript) {
    const absl::string_view rest = "NOOP\r\n";
    absl::string_view untouched = rest;
    EXPECT_EQ(session.Next(untouched), ServerEvent::kWaiting);
    EXPECT_EQ(untouched, rest);
    transcript.asked.push_back(event);
    const std::string refusal = verdict_ ? verdict_(event, session) : "";
    if (!refusal.empty()) {
      session.Refuse(refusal);
      body.clear();
    } else if (event == ServerEvent::kMessage) {
      transcript.accepted.push_back({.envelope = session.envelope(),
                                     .body = std::exchange(body, ""),
                                     .message_bytes = session.message_bytes(),
                                     .stuffed_dots = session.stuffed_dots(),
                                     .eight_bit = session.eight_bit()});
      session.AcceptMessage("17");
    } else {
      session.Accept();
    }
  }

  static void Take(ServerSession& session, Transcript& transcript) {
    transcript.said.append(session.output().data(), session.output().size());
    session.ClearOutput();
  }

  ServerSession::Options options_;
  Verdict verdict_;
  bool every_size_ = false;
};

}  // namespace sluice::smtp
