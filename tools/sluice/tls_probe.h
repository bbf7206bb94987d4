// One address of a route, asked as delivery would ask it: the engine's own session, channel, pool
// and verdict over a socket that waits. Sends no mail.
//
// STARTTLS is asked for whatever the level, so that the answer can be judged under all of them.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/delivery/channel.h"
#include "engine/delivery/tls_intent.h"
#include "engine/dns/route.h"
#include "engine/smtp/client_session.h"
#include "policy/tls_decision.h"
#include "policy/tls_level.h"
#include "tls/verify.h"
#include "tools/sluice/handshake_desk.h"
#include "tools/sluice/probe_socket.h"

namespace sluice::tools {

// What a host said and did. All text is printable ASCII.
struct ProbedHost {
  dns::RouteStep step;
  Duration connect_time{};
  std::string failure;  // Why the session ended before a transaction could follow; empty: it could.
  std::vector<std::string> in_clear;  // The dialogue, "< 220 …" and "> EHLO …".
  std::vector<std::string> under_tls;

  bool judged = false;  // What follows stands.
  policy::TlsFinding finding{};
  std::string detail;       // Why, in words: the host's, or the library's.
  std::string server_name;  // That was sent (SNI).

  // Of an established session.
  std::string protocol;
  std::string cipher;
  tls::Chain chain;
  tls::Verdict verdict;

  // What delivery would do there at a level.
  policy::TlsDecision Decision(policy::TlsLevel level) const;
  // Mail would be sent.
  bool Meets(policy::TlsLevel level) const;
};

// Once: Run ends with the connection closed.
class TlsProbe {
 public:
  struct Options {
    absl::string_view ehlo_name;                   // Lent.
    const delivery::TlsIntent* intent = nullptr;   // Lent.
    Duration patience = std::chrono::seconds(30);  // For each answer; RFC 5321 allows minutes.
  };

  TlsProbe(const Options& options, HandshakeDesk& desk) : options_(options), desk_(desk) {}

  ProbedHost Run(const dns::RouteStep& step);

 private:
  void Drive();
  void Wait();
  void OnBytes(absl::string_view bytes);
  void SendOutput();
  bool SendChannel();
  void Handshake();
  void OnSecure();
  void OnEnd();
  void Judge(policy::TlsFinding finding, absl::string_view detail);
  void KeepLines(absl::string_view direction, absl::string_view bytes);
  Instant Deadline() const;

  const Options options_;
  HandshakeDesk& desk_;
  ProbeSocket socket_;
  smtp::ClientSession session_;
  delivery::Channel channel_;
  ProbedHost host_;
  std::string received_;
  bool usable_ = false;  // A transaction could have followed.
  bool over_ = false;
  bool line_open_ = false;  // The last line of the dialogue has not ended.
};

}  // namespace sluice::tools
