// Name servers on loopback for the tests of the resolver: a real one with a zone of ours, and one
// that does what a real one would not.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice::dns {

// NSD, authoritative for everything: its only zone is the root, in a directory of its own that goes
// with it. Ready() is false when the program is not installed.
class NameServer {
 public:
  explicit NameServer(absl::string_view zone);
  ~NameServer();

  bool ready() const { return ready_; }
  // Why it is not ready, with NSD's log.
  const std::string& trouble() const { return trouble_; }
  // As the resolver's option wants it: "127.0.0.1@5353".
  std::string forward() const;

 private:
  void WriteFiles(absl::string_view zone);
  bool AnswersBefore(int tries) const;

  std::string directory_;
  uint16_t port_ = 0;
  pid_t process_ = -1;
  bool ready_ = false;
  std::string trouble_;
};

// Answers over UDP by the first label of the name that is asked for:
//   servfail, refused, formerr   with that code
//   garbage                      with bytes that are no answer
//   wrong-id                     with a null MX, under another id
//   cut                          with the first half of an answer
//   no-question                  with an answer that leaves the question out
//   held                         with a null MX, once Release() has been called
//   anything else                not at all
class OddServer {
 public:
  OddServer();
  ~OddServer();

  std::string forward() const;
  void Release();

 private:
  struct Held {
    std::string answer;
    std::vector<char> peer;
  };

  void Serve();
  void Send(absl::string_view answer, const std::vector<char>& peer) const;

  const int socket_;  // Before its port, and both before the thread.
  const uint16_t port_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  bool released_ = false;
  std::vector<Held> held_;
  std::thread thread_;
};

// A port of 127.0.0.1 that nobody has, by UDP or TCP.
uint16_t FreePort();

}  // namespace sluice::dns
