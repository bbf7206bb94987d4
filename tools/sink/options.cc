#include "tools/sink/options.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/io/clock.h"
#include "tls/demo_certificate.h"
#include "tls/key_pair.h"
#include "tools/command_line.h"

namespace sluice::tools {
namespace {

constexpr uint32_t kListenersMax = 1000;
constexpr uint32_t kWindowsMax = 8;
constexpr uint32_t kWindowSecondsMax = 24 * 3600;
constexpr uint32_t kFaultsMax = 100;
constexpr uint64_t kRememberedMax = 1'000'000'000;

// As the words stand on the command line.
struct Words {
  std::vector<std::string> listen;
  int64_t ports = 1;
  std::vector<double> windows_s{60};
  std::vector<std::string> faults;
  std::string certificate;
  std::string key;
  bool demo_certificate = false;
  bool no_pipelining = false;
  bool no_8bitmime = false;
  bool no_chunking = false;
};

void Bind(CLI::App& app, SinkOptions& options, Words& words) {
  app.add_option("--listen", words.listen,
                 "ADDRESS:PORT to listen on; may be repeated; port 0 is any")
      ->allow_extra_args(false)
      ->required();
  app.add_option("--ports", words.ports,
                 "Listen on this many consecutive ports, a destination each")
      ->check(WholeNumber());
  app.add_option("--hostname", options.hostname, "The name in greeting and EHLO reply");
  app.add_option("--window", words.windows_s,
                 "Seconds; report the most recipients in any span so long; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--report", options.report_path, "File for the JSON report (standard output)");
  app.add_option("--received", options.received_path,
                 "File for a line 'id recipient' for every recipient of every message taken");
  app.add_option("--expect", options.expect, "End when this many messages have been taken")
      ->check(WholeNumber());
  app.add_flag("--progress", options.progress, "A line a second on standard error");
  app.add_flag("--no-pipelining", words.no_pipelining, "Do not offer PIPELINING");
  app.add_flag("--no-8bitmime", words.no_8bitmime, "Do not offer 8BITMIME");
  app.add_flag("--no-chunking", words.no_chunking, "Do not offer CHUNKING");
  app.add_option("--certificate", words.certificate,
                 "PEM file of a certificate and its chain: offer STARTTLS on all ports");
  app.add_option("--key", words.key, "PEM file of its key");
  app.add_flag("--demo-certificate", words.demo_certificate,
               "Offer STARTTLS with a self-signed certificate of the hostname");
  app.add_option("--tickets", options.tickets,
                 "Share of the TLS handshakes, 0 to 1, that give a ticket for resuming; 0: none");
  app.add_option("--size-max", options.size_max_bytes, "Largest message in bytes; 0: no limit")
      ->check(WholeNumber());
  app.add_option("--recipients-max", options.recipients_max,
                 "Most recipients of a message (452 beyond)")
      ->check(WholeNumber());
  app.add_option(
         "--fault", words.faults,
         "What goes wrong: 'stage=rcpt,reply=450 4.7.1 later,probability=0.1'; may be repeated "
         "(all fields: tools/README.md)")
      ->allow_extra_args(false);
  app.add_option("--seed", options.seed, "Of the faults' probabilities and the tickets' share")
      ->check(WholeNumber());
  app.add_option("--remember", options.remembered_max,
                 "Pairs of id and recipient that duplicates are found among")
      ->check(WholeNumber());
}

absl::Status Wrong(absl::string_view option, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": ", why));
}

absl::Status TakeListeners(const Words& words, SinkOptions& options) {
  if (words.ports < 1 || words.ports > kListenersMax) return Wrong("--ports", "1 to 1000");
  for (const std::string& text : words.listen) {
    const auto first = SocketAddress::Parse(text);
    if (!first) return Wrong("--listen", absl::StrCat("'", text, "' is not ADDRESS:PORT"));
    if (first->port == 0 && words.ports > 1) {
      return Wrong("--ports", "consecutive ports need a first one that is not 0");
    }
    if (first->port + words.ports - 1 > 65535) {
      return Wrong("--ports", "the last port would be over 65535");
    }
    for (int64_t i = 0; i < words.ports; ++i) {
      options.listen.push_back({first->ip, static_cast<uint16_t>(first->port + i)});
    }
  }
  if (options.listen.size() > kListenersMax) return Wrong("--listen", "over 1000 ports in all");
  return absl::OkStatus();
}

absl::Status TakeWindows(const Words& words, SinkOptions& options) {
  if (words.windows_s.size() > kWindowsMax) return Wrong("--window", "at most 8");
  for (const double seconds : words.windows_s) {
    if (!(seconds >= 0.001 && seconds <= kWindowSecondsMax)) {
      return Wrong("--window", "0.001 to 86400 seconds");
    }
    options.windows.push_back(Duration(static_cast<int64_t>(seconds * 1e9)));
  }
  return absl::OkStatus();
}

absl::Status TakeFaults(const Words& words, SinkOptions& options) {
  if (words.faults.size() > kFaultsMax) return Wrong("--fault", "at most 100");
  for (const std::string& text : words.faults) {
    absl::StatusOr<Fault> fault = Fault::Parse(text);
    if (!fault.ok()) return Wrong("--fault", fault.status().message());
    options.faults.push_back(*std::move(fault));
  }
  return absl::OkStatus();
}

absl::Status TakeCertificate(const Words& words, SinkOptions& options) {
  if (words.certificate.empty() != words.key.empty()) {
    return Wrong("--certificate", "goes with --key");
  }
  if (!(options.tickets >= 0 && options.tickets <= 1)) return Wrong("--tickets", "0 to 1");
  if (words.certificate.empty() && !words.demo_certificate) {
    if (options.tickets > 0) return Wrong("--tickets", "needs a certificate");
    return absl::OkStatus();
  }
  if (!words.certificate.empty() && words.demo_certificate) {
    return Wrong("--demo-certificate", "contradicts --certificate");
  }
  const WallTime now = io::ReadClock().wall;
  tls::Context::Options pair{.tickets = options.tickets > 0};
  if (words.demo_certificate) {
    auto demo = tls::MakeDemoCertificate(options.hostname, now);
    if (!demo.ok()) return Wrong("--demo-certificate", demo.status().message());
    pair.certificate = std::move(demo->certificate_pem);
    pair.key = std::move(demo->key_pem);
  } else {
    auto loaded = tls::LoadKeyPair(words.certificate, words.key, now);
    if (!loaded.ok()) return Wrong("--certificate", loaded.status().message());
    pair.certificate = std::move(loaded->chain_pem);
    pair.key = std::move(loaded->key_pem);
  }
  auto context = tls::Context::ForServers(pair);
  if (!context.ok()) return Wrong("--certificate", context.status().message());
  options.tls = *std::move(context);
  return absl::OkStatus();
}

absl::Status Validate(const Words& words, SinkOptions& options) {
  if (absl::Status status = TakeListeners(words, options); !status.ok()) return status;
  if (absl::Status status = TakeWindows(words, options); !status.ok()) return status;
  if (absl::Status status = TakeFaults(words, options); !status.ok()) return status;
  if (!NormalizeDomain(options.hostname).ok()) return Wrong("--hostname", "not a domain name");
  if (options.recipients_max < 1 || options.recipients_max > 100'000) {
    return Wrong("--recipients-max", "1 to 100000");
  }
  if (options.remembered_max > kRememberedMax) return Wrong("--remember", "at most 1000000000");
  options.pipelining = !words.no_pipelining;
  options.eight_bit_mime = !words.no_8bitmime;
  options.chunking = !words.no_chunking;
  return TakeCertificate(words, options);
}

}  // namespace

absl::StatusOr<std::optional<SinkOptions>> ParseSinkOptions(int argc, const char* const* argv) {
  CLI::App app("Receives mail, counts it, and fails on demand.", "sluice-sink");
  SinkOptions options;
  Words words;
  Bind(app, options, words);
  const absl::StatusOr<bool> parsed = ParseCommandLine(app, argc, argv);
  if (!parsed.ok()) return parsed.status();
  if (!*parsed) return std::nullopt;
  if (absl::Status status = Validate(words, options); !status.ok()) return status;
  return options;
}

}  // namespace sluice::tools
