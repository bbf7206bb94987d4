// What is drawn for one simulation: how large it is, which faults there are and how often (swarm
// testing: most seeds have a few faults each, some have none). Each option has a name, by which it
// can be set to something else, and a least value, at which there is least to look at.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "engine/base/random.h"
#include "engine/base/time.h"

namespace sluice::sim {

struct Faults {
  // Of the peers, per chance.
  double refuse_call = 0;
  double hang_call = 0;
  double greeting = 0;       // 421, 554, 521, garbage, silence, or closing at once.
  double ehlo = 0;           // 5xx (HELO works), 4xx, closing.
  double command_later = 0;  // 4xx to MAIL, RCPT, DATA or the dot.
  double command_never = 0;  // 5xx.
  double command_421 = 0;
  double command_close = 0;  // Closes or resets without a word.
  double garbage = 0;
  double silence = 0;
  double slow = 0;          // An answer after seconds to many minutes.
  double dot_lost = 0;      // Takes the message, or not, and is gone without an answer.
  double body_refusal = 0;  // 5xx or 4xx amid the body, and closes.
  double stall = 0;         // Stops reading.
  double idle_421 = 0;      // Says 421 unasked between two transactions.
  double rset_refusal = 0;
  double greylist = 0;   // Share of recipients that are first told 451.
  double start_tls = 0;  // Answers STARTTLS with a refusal, garbage, silence, closing, or more.
  double handshake = 0;  // Breaks the handshake off, or the session behind it.
  // Of the engine's own pool of handshakes.
  double handshakes_slow = 0;     // A flight that takes up to minutes.
  double handshakes_refused = 0;  // Too many wait, or there is no room for one.
  double open_error = 0;          // No socket can be opened: descriptors have run out.
  int name_errors = 0;            // Of the disk: files cannot be made, renamed or removed.
  // Of names.
  double dns_temporary = 0;
  // Of injectors.
  double injector_breaks = 0;
  // Of the disk, and of the machine; times in the whole run.
  int disk_errors = 0;
  int disk_full = 0;
  int read_errors = 0;
  int crashes = 0;
  int power_cuts = 0;
  int restarts = 0;  // Drained first.
  int aborts = 0;    // Drained, and then cut off.
  double accept_error = 0;
  int clock_steps = 0;  // Of the wall clock, forth and back.
};

struct Options {
  uint32_t salt = 0;  // Another way through the same options.
  uint32_t shards = 1;
  uint32_t domains = 1;
  uint32_t messages = 10;
  uint32_t recipients_max = 1;  // Of a message.
  uint32_t body_bytes_max = 1000;
  double short_bodies = 0.9;  // So many have at most some 600 bytes.
  Duration active{};          // For so long, mail comes and faults happen.
  double unknown_recipients = 0;
  double bad_domains = 0;  // NXDOMAIN, null MX, no host.
  bool peers_pipeline = true;
  double recipients_bound = 0;  // Peers that take only a few recipients a transaction.
  double plain_peers = 0;       // That know no EHLO, or none of its extensions.
  double ahead_refused = 0;     // That do not take MAIL before they have answered the dot.
  double chunking = 0;          // That offer CHUNKING; some do not mean it.
  bool controls = false;
  int table_swaps = 0;
  bool one_host_only = true;
  bool short_queue = false;  // Mail expires within the simulation.
  double cut = 0;
  bool tight_rooms = false;
  bool reorders = false;
  bool small_slabs = false;
  bool slow_turns = false;
  bool scopes = false;         // Tables have limits of addresses, sources and the system.
  uint32_t sources = 0;        // Beside the system's choice.
  int lost_addresses = 0;      // Of sources, for a while each.
  bool notifications = false;  // Injectors ask for them, and some peers offer DSN (RFC 3461).
  uint64_t segment_bytes = 256 << 10;
  bool tls = false;            // Tables have levels of TLS, and most peers offer it.
  bool intake_tls = false;     // Injectors may use it.
  bool new_routes = false;     // Each answer of the resolver names some of the domain's hosts.
  bool streams = false;        // Most bodies are too large to be in memory.
  bool few_residents = false;  // So are most messages that wait.
  bool sync = true;            // False: promises are given that do not hold, for a judge to find.
  Faults faults;

  // All at their least.
  static Options Least();
  // False: there is no such option, or no such value.
  bool Set(absl::string_view name, const std::string& text);
  static bool IsOption(absl::string_view name);
  std::string ToString() const;
  // What is not at its least, as settings.
  std::map<std::string, std::string> Differing() const;
  // What could be tried instead of what is, the least of an option first.
  struct Simpler {
    std::string name;
    std::vector<std::string> values;
  };
  std::vector<Simpler> SimplerOnes() const;
};

Options DrawOptions(uint64_t seed);

// A seed, and what is to be otherwise than it draws: "30 shards=1 controls=0". Or, so that a change
// of what is drawn does not touch it, what is to be otherwise than the least: "30 least shards=2".
struct Case {
  uint64_t seed = 0;
  bool from_least = false;
  std::map<std::string, std::string> settings;

  // Takes a setting, "shards=1", or "least". False: it is none.
  bool Set(absl::string_view setting);
  Options Draw() const;
  std::string ToString() const;
  // A line that begins so; the rest of it is for readers.
  static bool Parse(absl::string_view line, Case& into);
};

}  // namespace sluice::sim
