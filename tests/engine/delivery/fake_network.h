// The hosts of destinations, for tests of the delivering side: each address has a host that answers
// every command by a script, or leaves the talking to the test.

#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "tests/engine/io/fake_sockets.h"

namespace sluice::delivery {

inline constexpr absl::string_view kGreeting = "greeting";  // As if it were a command.

struct FakeHost {
  int refuses_with = 0;              // The errno of its connects.
  bool answers_connects = true;      // False: they stay in flight until the test ends them.
  std::string closes_after;          // The front of the command whose answer is its last word.
  bool closes_unanswered = false;    // It does not even say that word.
  size_t recipients_max = SIZE_MAX;  // In one transaction; beyond: 452 4.5.3.
  bool waits = false;                // Every answer waits for the test (AnswersNext).
  // To all commands that come with the end of a body, as Haraka has it; empty: as to any others.
  std::string answer_ahead;

  // By the front of a command, the longest one that fits; "." is the body's end. Nothing is said to
  // a command that has no answer here.
  std::map<std::string, std::string> answers = {
      {"greeting", "220 mx.example.com ESMTP"},
      {"EHLO", "250-mx.example.com\r\n250 PIPELINING"},
      {"MAIL", "250 2.1.0 sender ok"},
      {"RCPT", "250 2.1.5 recipient ok"},
      {"DATA", "354 go ahead"},
      {".", "250 2.0.0 taken"},
      {"BDAT", "250 2.0.0 taken"},  // Where it is offered.
      {"RSET", "250 2.0.0 reset"},
      {"QUIT", "221 2.0.0 bye"},
  };

  const std::string* AnswerTo(absl::string_view command) const {
    const std::string* best = nullptr;
    for (const auto& [front, answer] : answers) {  // A longer front sorts behind a shorter one.
      if (absl::StartsWith(command, front)) best = &answer;
    }
    return best;
  }
};

class FakeNetwork : public io::FakeSockets {
 public:
  using FakeSockets::Accept;  // Beside the one that a test calls.
  // --- What a test does.

  FakeHost& Host(absl::string_view ip) { return hosts_[std::string(ip)]; }

  // The connects that are in flight.
  void Accept(int peer) { FinishConnect(peer, 0); }
  void Refuse(int peer, int error) { FinishConnect(peer, error); }
  // We can open no socket: the errno; 0: we can again.
  void NoMoreSockets(int error) { no_socket_ = error; }

  // The machine has this address no more, or again.
  void Loses(absl::string_view local) { missing_.insert(std::string(local)); }
  void GetsBack(absl::string_view local) { missing_.erase(std::string(local)); }
  // What the peer's socket was bound to; empty: the system chose.
  const std::string& LocalOf(int peer) const { return sessions_.at(peer).local; }
  // Sockets that were connected from there, to one address or all.
  std::vector<int> From(absl::string_view local, absl::string_view ip = "") const {
    std::vector<int> peers;
    for (const auto& [number, session] : sessions_) {
      if (session.local != local || session.ip.empty()) continue;
      if (ip.empty() || session.ip == ip) peers.push_back(number);
    }
    return peers;
  }

  // The sockets that were connected, in that order: to one address, or all.
  std::vector<int> To(absl::string_view ip) const {
    std::vector<int> peers;
    for (const auto& [number, session] : sessions_) {
      if (session.ip == ip) peers.push_back(number);
    }
    return peers;
  }
  std::vector<int> All() const {
    std::vector<int> peers;
    for (const auto& [number, session] : sessions_) {
      if (!session.ip.empty()) peers.push_back(number);  // Others only looked for an address.
    }
    return peers;
  }
  // Sockets that are not closed, half-open ones too; now, and at the worst moment so far.
  size_t open() const {
    return static_cast<size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                             [&](const auto& s) { return !Closed(s.first); }));
  }
  size_t most_open() const { return most_open_; }

  // A host that waits says what it has to say: to the first command that it has not answered, or to
  // all of them.
  void AnswersNext(int peer) {
    std::deque<Command>& waiting = sessions_.at(peer).waiting;
    CHECK(!waiting.empty());
    const Command command = std::move(waiting.front());
    waiting.pop_front();
    Answer(peer, command);
  }
  void AnswersAll(int peer) {
    while (Waiting(peer) > 0) AnswersNext(peer);
  }
  size_t Waiting(int peer) const { return sessions_.at(peer).waiting.size(); }

  // All that the peer has heard, and the sizes of the sends by which it came.
  const std::string& AllHeard(int peer) const { return sessions_.at(peer).heard; }
  const std::vector<size_t>& SendSizes(int peer) const { return sessions_.at(peer).send_sizes; }
  // How often a line with this front was heard, in commands and bodies.
  size_t CountHeard(int peer, absl::string_view front) const {
    const std::string text = absl::StrCat("\r\n", sessions_.at(peer).heard);
    const std::string wanted = absl::StrCat("\r\n", front);
    size_t count = 0;
    for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
      ++count;
    }
    return count;
  }
  size_t CountHeardByAll(absl::string_view front) const {
    size_t count = 0;
    for (const auto& [number, session] : sessions_) count += CountHeard(number, front);
    return count;
  }

  // A file that bodies are read from. While reads are held they stay in flight; where its number is
  // in `bad_reads`, counted over all from 1, a read fails.
  std::string& File(int32_t descriptor) { return files_[descriptor]; }
  void HoldReads() { hold_reads_ = true; }
  void ReleaseRead() {
    CHECK(!reads_.empty());
    FinishRead(reads_.front());
    reads_.erase(reads_.begin());
  }
  void ReleaseReads() {
    hold_reads_ = false;
    while (!reads_.empty()) ReleaseRead();
  }
  size_t reading() const { return reads_.size(); }
  int reads() const { return reads_begun_; }
  std::map<int, int> bad_reads;  // And with which errno.

  // --- io::Io.

  void Read(io::OpId op, io::File file, std::span<std::byte> into, uint64_t offset) override {
    for (const HeldRead& other : reads_) CHECK(!Same(other.op, op));
    reads_.push_back({op, file.descriptor, into, offset, ++reads_begun_});
    if (!hold_reads_) ReleaseRead();
  }
  io::Socket OpenStream(Family family, const IpAddress& local) override {
    if (no_socket_ != 0) return {-no_socket_};
    const bool bound = local.family != Family::kNone;
    CHECK(!bound || local.family == family);
    if (bound && missing_.contains(local.ToString())) return {-EADDRNOTAVAIL};
    const int peer = AddPeer(SocketAddress{});
    sessions_[peer].family = family;
    if (bound) sessions_[peer].local = local.ToString();
    most_open_ = std::max(most_open_, open());
    return {peer};
  }
  void Connect(io::OpId op, io::Socket socket, const SocketAddress& to) override {
    Session& session = sessions_.at(socket.descriptor);
    CHECK(session.ip.empty());
    CHECK(to.ip.family == session.family);
    session.ip = to.ip.ToString();
    session.connecting = true;
    session.connect_op = op;
    const FakeHost& host = Host(session.ip);
    if (host.answers_connects) FinishConnect(socket.descriptor, host.refuses_with);
  }
  void Receive(io::OpId op, io::Socket socket) override {
    CHECK(sessions_.at(socket.descriptor).connected);
    FakeSockets::Receive(op, socket);
  }
  void Close(io::Socket socket) override {
    CHECK(!sessions_.at(socket.descriptor).connecting);
    FakeSockets::Close(socket);
  }
  void Cancel(io::OpId op) override {
    for (const auto& [number, session] : sessions_) {
      if (session.connecting && Same(session.connect_op, op)) FinishConnect(number, ECANCELED);
    }
    FakeSockets::Cancel(op);
  }

 private:
  struct HeldRead {
    io::OpId op;
    int32_t descriptor;
    std::span<std::byte> into;
    uint64_t offset;
    int number;
  };
  struct Command {
    std::string line;
    bool ahead = false;  // It came with the end of a body.
  };
  struct Session {
    Family family{};
    std::string ip;     // Of the host.
    std::string local;  // Of ours.
    bool connecting = false;
    bool connected = false;
    io::OpId connect_op;
    std::string line;  // The front of a line whose end has not come.
    bool in_body = false;
    std::deque<Command> waiting;  // Heard, and not answered by a host that waits.
    size_t recipients = 0;        // Of the transaction.
    bool silent = false;          // It has said its last word.
    std::string heard;
    std::vector<size_t> send_sizes;
  };

  // What was lent is written to only now.
  void FinishRead(const HeldRead& read) {
    const auto bad = bad_reads.find(read.number);
    if (bad != bad_reads.end()) return Complete({.op = read.op, .result = -bad->second});
    const std::string& file = files_.at(read.descriptor);
    CHECK(read.offset + read.into.size() <= file.size());
    std::memcpy(read.into.data(), file.data() + read.offset, read.into.size());
    Complete({.op = read.op, .result = static_cast<int32_t>(read.into.size())});
  }

  void FinishConnect(int peer, int error) {
    Session& session = sessions_.at(peer);
    CHECK(session.connecting);
    session.connecting = false;
    session.connected = error == 0;
    Complete({.op = session.connect_op, .result = -error});
    if (error == 0) Answer(peer, {std::string(kGreeting)});
  }

  void OnHeard(int peer, absl::string_view text) override {
    Session& session = sessions_.at(peer);
    session.send_sizes.push_back(text.size());
    session.heard.append(text.data(), text.size());
    session.line.append(text.data(), text.size());
    size_t taken = 0;
    bool ahead = false;
    for (size_t end = session.line.find("\r\n"); end != std::string::npos;
         end = session.line.find("\r\n", taken)) {
      const std::string line = session.line.substr(taken, end - taken);
      const bool chunk = !session.in_body && absl::StartsWith(line, "BDAT ");
      const size_t octets = chunk ? std::stoul(line.substr(5)) : 0;
      if (session.line.size() < end + 2 + octets) break;
      taken = end + 2 + octets;
      if (session.in_body && line != ".") continue;
      const bool ends_body = std::exchange(session.in_body, false);
      Hear(peer, {line, ahead});
      ahead |= ends_body;
    }
    session.line.erase(0, taken);
  }

  void Hear(int peer, Command command) {
    Session& session = sessions_.at(peer);
    if (!Host(session.ip).waits) return Answer(peer, command);
    session.waiting.push_back(std::move(command));
  }

  void Answer(int peer, const Command& command) {
    Session& session = sessions_.at(peer);
    if (session.silent) return;
    const FakeHost& host = Host(session.ip);
    const bool last =
        !host.closes_after.empty() && absl::StartsWith(command.line, host.closes_after);
    if (!(last && host.closes_unanswered)) Say(peer, session, host, command);
    const bool parted = command.line == "QUIT" && host.answers.contains("QUIT");
    if (last || parted) {
      session.silent = true;
      FinishesSending(peer);
    }
  }

  void Say(int peer, Session& session, const FakeHost& host, const Command& command) {
    const std::string& line = command.line;
    if (command.ahead && !host.answer_ahead.empty()) {
      return Says(peer, absl::StrCat(host.answer_ahead, "\r\n"));
    }
    if (absl::StartsWith(line, "MAIL")) session.recipients = 0;
    if (absl::StartsWith(line, "RCPT") && ++session.recipients > host.recipients_max) {
      return Says(peer, "452 4.5.3 too many recipients\r\n");
    }
    const std::string* answer = host.AnswerTo(line);
    if (answer == nullptr) return;
    session.in_body = line == "DATA" && absl::StartsWith(*answer, "354");
    Says(peer, absl::StrCat(*answer, "\r\n"));
  }

  std::map<int32_t, std::string> files_;
  std::vector<HeldRead> reads_;
  bool hold_reads_ = false;
  int reads_begun_ = 0;
  std::map<std::string, FakeHost> hosts_;
  std::set<std::string> missing_;
  std::map<int, Session> sessions_;
  int no_socket_ = 0;
  size_t most_open_ = 0;
};

}  // namespace sluice::delivery
