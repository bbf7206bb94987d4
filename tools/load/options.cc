#include "tools/load/options.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/base/limits.h"
#include "engine/smtp/address.h"
#include "tools/command_line.h"

namespace sluice::tools {
namespace {

constexpr uint32_t kConnectionsMax = 16'000;
constexpr uint64_t kMessagesMax = uint64_t{1}
                                  << 40;  // A probe id counts to 2^48, retries included.
constexpr double kSecondsMax = 7 * 86400;

// As the words stand on the command line.
struct Words {
  std::string to;
  std::string size = "10k";
  std::string sizes;
  std::string domains_path;
  uint64_t domain_count = 1;
  std::string distribution = "uniform";
  uint64_t recipients = 1;
  bool pipelining = false;
  bool no_pipelining = false;
  bool starttls = false;
  double retry_after_s = 1;
  double timeout_s = 600;
};

void BindMessages(CLI::App& app, LoadOptions& options, Words& words) {
  app.add_option("--messages", options.messages, "How many")->check(WholeNumber());
  app.add_option("--rate", options.rate_per_s, "Messages a second; 0: as fast as possible");
  app.add_option("--size", words.size, "Bytes of each message, header included: 10240, 10k, 1m");
  app.add_option("--sizes", words.sizes,
                 "A mix: '2k:50,10k:40,100k:10' (with weights) or 'exponential:10k' (the mean)");
  app.add_option("--domains", words.domains_path, "File of recipient domains, one a line");
  app.add_option("--domain-count", words.domain_count, "So many domains: dest-0000.example, ...")
      ->check(WholeNumber());
  app.add_option("--distribution", words.distribution, "Over the domains: uniform, zipf, zipf:S");
  app.add_option("--recipients-per-message", words.recipients, "All to one domain")
      ->check(WholeNumber());
  app.add_option("--from", options.sender, "Envelope sender; empty: the null sender");
  app.add_option("--seed", options.seed, "Of sizes and domains")->check(WholeNumber());
}

void BindDialogue(CLI::App& app, LoadOptions& options, Words& words) {
  app.add_option("--to", words.to, "ADDRESS:PORT of the server")->required();
  app.add_option("--connections", options.connections, "At the same time")->check(WholeNumber());
  app.add_flag("--pipelining", words.pipelining, "Pipeline when offered (the default)");
  app.add_flag("--no-pipelining", words.no_pipelining, "Wait for each reply");
  app.add_flag("--starttls", words.starttls,
               "No mail without TLS; whom it is spoken with is not verified");
  app.add_option("--messages-per-connection", options.messages_per_connection,
                 "Then QUIT and connect anew; 0: no limit")
      ->check(WholeNumber());
  app.add_option("--hostname", options.hostname, "The name in EHLO");
  app.add_flag("--retry-refused", options.retry_refused, "Try again later what got a 4xx");
  app.add_option("--retry-after", words.retry_after_s, "Seconds until then");
  app.add_flag("--allow-refusals", options.allow_refusals, "A refusal is no failure of the run");
  app.add_option("--timeout", words.timeout_s, "Seconds after which the run ends as failed");
}

void Bind(CLI::App& app, LoadOptions& options, Words& words) {
  BindDialogue(app, options, words);
  BindMessages(app, options, words);
  app.add_option("--ledger", options.ledger_path,
                 "File for a line 'id recipient...' for each message that got 250");
  app.add_option("--report", options.report_path, "File for the JSON report (standard output)");
  app.add_flag("--progress", options.progress, "A line a second on standard error");
}

absl::Status Wrong(absl::string_view option, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": ", why));
}

absl::Status TakeDialogue(const Words& words, LoadOptions& options) {
  const auto to = SocketAddress::Parse(words.to);
  if (!to || to->port == 0) {
    return Wrong("--to", absl::StrCat("'", words.to, "' is not ADDRESS:PORT"));
  }
  options.to = *to;
  if (options.connections < 1 || options.connections > kConnectionsMax) {
    return Wrong("--connections", "1 to 16000");
  }
  if (words.pipelining && words.no_pipelining) {
    return Wrong("--pipelining", "contradicts --no-pipelining");
  }
  options.pipelining = !words.no_pipelining;
  if (!NormalizeDomain(options.hostname).ok()) return Wrong("--hostname", "not a domain name");
  if (!(words.retry_after_s >= 0 && words.retry_after_s <= kSecondsMax)) {
    return Wrong("--retry-after", "0 to 604800 seconds");
  }
  if (!(words.timeout_s > 0 && words.timeout_s <= kSecondsMax)) {
    return Wrong("--timeout", "over 0 and at most 604800 seconds");
  }
  options.retry_after = Duration(static_cast<int64_t>(words.retry_after_s * 1e9));
  options.timeout = Duration(static_cast<int64_t>(words.timeout_s * 1e9));
  if (!words.starttls) return absl::OkStatus();
  auto context = tls::Context::ForClients({});
  if (!context.ok()) return Wrong("--starttls", context.status().message());
  options.tls = *std::move(context);
  return absl::OkStatus();
}

absl::Status TakeDomains(const Words& words, LoadOptions& options) {
  std::vector<std::string> domains;
  if (!words.domains_path.empty()) {
    if (words.domain_count != 1) return Wrong("--domains", "and --domain-count exclude each other");
    auto read = ReadDomains(words.domains_path);
    if (!read.ok()) return Wrong("--domains", read.status().message());
    domains = *std::move(read);
  } else {
    if (words.domain_count < 1 || words.domain_count > kLoadDomainsMax) {
      return Wrong("--domain-count", "1 to 1000000");
    }
    domains = NumberedDomains(static_cast<uint32_t>(words.domain_count));
  }
  auto choice = DomainChoice::Parse(words.distribution, std::move(domains));
  if (!choice.ok()) return Wrong("--distribution", choice.status().message());
  options.domains = *std::move(choice);
  return absl::OkStatus();
}

absl::Status TakeMessages(const Words& words, LoadOptions& options) {
  if (options.messages < 1 || options.messages > kMessagesMax) {
    return Wrong("--messages", "1 to 2^40");
  }
  if (!(options.rate_per_s >= 0 && options.rate_per_s <= 1e9)) return Wrong("--rate", "0 to 10^9");
  const bool mix = !words.sizes.empty();
  auto sizes = SizeMix::Parse(mix ? words.sizes : words.size);
  if (!sizes.ok()) return Wrong(mix ? "--sizes" : "--size", sizes.status().message());
  options.sizes = *std::move(sizes);
  if (words.recipients < 1 || words.recipients > limits::kRecipientsPerTransactionMax) {
    return Wrong("--recipients-per-message", "1 to 100");
  }
  options.recipients_per_message = static_cast<uint16_t>(words.recipients);
  const std::string path = absl::StrCat("<", options.sender, ">");
  absl::string_view rest = path;
  const auto sender = smtp::ParseReversePath(rest);
  if (!sender.ok()) return Wrong("--from", sender.status().message());
  if (!rest.empty()) return Wrong("--from", "not one address");
  return absl::OkStatus();
}

absl::Status Validate(const Words& words, LoadOptions& options) {
  if (absl::Status status = TakeDialogue(words, options); !status.ok()) return status;
  if (absl::Status status = TakeMessages(words, options); !status.ok()) return status;
  return TakeDomains(words, options);
}

}  // namespace

absl::StatusOr<std::optional<LoadOptions>> ParseLoadOptions(int argc, const char* const* argv) {
  CLI::App app("Sends test mail and says what became of it.", "sluice-load");
  LoadOptions options;
  Words words;
  Bind(app, options, words);
  const absl::StatusOr<bool> parsed = ParseCommandLine(app, argc, argv);
  if (!parsed.ok()) return parsed.status();
  if (!*parsed) return std::nullopt;
  if (absl::Status status = Validate(words, options); !status.ok()) return status;
  return options;
}

}  // namespace sluice::tools
