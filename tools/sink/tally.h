// What arrived, counted: in total, for each port and for each recipient domain.
//
// A connection belongs to its port from the accept, and to a domain from its first recipient there;
// to both until it is gone. Recipients are RCPT commands, refused ones too, since a sender's limits
// count those; messages on a connection are MAIL commands for the same reason.
//
// A connection is under TLS from the end of its handshake; a handshake that was begun has failed
// when its connection ends without that. A message is under TLS if its data came so.
//
// A recipient is a duplicate when it came before with the same probe id. That is excused when
// the copy before was taken without an answer: the sender could not know.

#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/smtp/envelope.h"
#include "tools/probe_message.h"
#include "tools/sink/window_peak.h"

namespace sluice::tools {

struct Counts {
  std::string name;
  uint32_t connections_now = 0;
  uint32_t connections_peak = 0;
  uint64_t connections = 0;
  uint64_t tls_connections = 0;  // Of these.
  uint64_t tls_resumed = 0;      // Of these.
  uint64_t handshakes_failed = 0;
  uint64_t messages = 0;                    // Taken.
  uint64_t messages_under_tls = 0;          // Of these.
  uint64_t chunked = 0;                     // Of these, by BDAT.
  uint64_t messages_on_connection_max = 0;  // MAIL commands.
  uint64_t recipients = 0;                  // RCPT commands.
  uint64_t recipients_taken = 0;            // Of the messages taken.
  uint64_t bytes = 0;                       // Of the messages taken, without stuffing.
  uint64_t duplicates = 0;
  uint64_t duplicates_excused = 0;  // Of these.
  uint64_t damaged = 0;
  uint64_t without_probe = 0;
  WindowPeaks windows;
  uint64_t last_message = 0;  // The tally's: counts a message once a row.

  Counts(absl::string_view row_name, WindowPeaks peaks)
      : name(row_name), windows(std::move(peaks)) {}
};

class Tally {
 public:
  struct Options {
    std::vector<Duration> windows;
    std::vector<std::string> ports;  // Their rows' names.
    uint32_t domains_max = 100'000;  // Further ones are counted in one row, "(others)".
    uint64_t remembered_max =
        16'000'000;  // Pairs of id and recipient that duplicates are known by.
  };

  // A connection's share of the counts; its owner keeps it. Begun by Connected, ended by Gone.
  class Connection {
   public:
    bool counted() const { return counted_; }

   private:
    friend class Tally;
    struct Domain {
      uint32_t row;
      uint32_t messages;
      uint32_t last_mail;  // Which of the connection's MAIL commands was counted last.
    };
    bool counted_ = false;
    uint32_t port_ = 0;
    uint32_t mails_ = 0;
    std::vector<Domain> domains_;
    bool over_bound_ = false;
    bool tls_ = false;
    bool resumed_ = false;
  };

  // Domains that one connection is counted for; beyond, its recipients are, but the connection is
  // not.
  static constexpr size_t kDomainsPerConnectionMax = 64;
  static constexpr uint64_t kStampsMax = 16 << 20;  // 256 MiB for all windows.

  struct Arrival {
    std::span<const smtp::EnvelopeRecipient> recipients;
    uint64_t bytes = 0;
    ProbeReader::Verdict verdict = ProbeReader::Verdict::kNoProbe;
    std::optional<Probe> probe;
    bool chunked = false;
    bool answered = true;
  };

  explicit Tally(const Options& options);

  void Connected(Connection& connection, uint32_t port_index);
  void Gone(Connection& connection);
  void Secured(Connection& connection, absl::string_view cipher, bool resumed);
  void HandshakeFailed(const Connection& connection);  // Before Gone.
  void MailSeen(Connection& connection);
  void RecipientSeen(Connection& connection, absl::string_view domain, Instant now);
  void MessageTaken(const Connection& connection, const Arrival& arrival);

  const Counts& total() const { return total_; }
  const std::deque<Counts>& ports() const { return ports_; }
  const std::deque<Counts>& domains() const { return domains_; }
  // Connections under TLS by their suites, as IANA has them; bounded by the suites that we offer.
  const std::map<std::string, uint64_t>& ciphers() const { return ciphers_; }
  uint64_t connections_over_bound() const { return connections_over_bound_; }
  bool all_remembered() const { return all_remembered_; }

 private:
  enum class Repeat : uint8_t { kFirst, kDuplicate, kExcused };

  // Calls `count` with every row that the connection belongs to.
  template <class Count>
  void ForEachRow(const Connection& connection, const Count& count);

  Counts MakeRow(absl::string_view name);
  uint32_t RowOf(absl::string_view domain);
  void CountDomain(Connection& connection, uint32_t row);
  Repeat Remember(const ProbeId& id, absl::string_view recipient, bool answered);

  Options options_;
  uint64_t stamps_left_ = kStampsMax;
  Counts total_;
  std::deque<Counts> ports_;
  std::deque<Counts> domains_;
  std::map<std::string, uint64_t> ciphers_;
  absl::flat_hash_map<std::string, uint32_t> rows_;  // Of domains_.
  uint32_t last_row_ = 0;                            // The one asked for most recently.
  absl::flat_hash_set<uint64_t> remembered_;         // Hashes of id and recipient.
  absl::flat_hash_set<uint64_t> unanswered_;         // Of these, those taken without an answer.
  uint64_t connections_over_bound_ = 0;
  bool all_remembered_ = true;
};

}  // namespace sluice::tools
