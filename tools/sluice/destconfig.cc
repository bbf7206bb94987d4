#include "tools/sluice/destconfig.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/config.h"
#include "engine/controls_store.h"
#include "engine/destconfig.h"
#include "engine/destconfig_json.h"
#include "engine/io/clock.h"
#include "engine/tables.h"
#include "engine/text_file.h"
#include "tools/sluice/control_client.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;

bool Is(const DestconfigOptions& options, absl::string_view command) {
  return !options.words.empty() && absl::EqualsIgnoreCase(options.words.front(), command);
}

// The file that a command names: its first word that is no option.
std::string FileOf(const DestconfigOptions& options) {
  const auto named = std::find_if(options.words.begin() + 1, options.words.end(),
                                  [](const std::string& word) { return word.rfind("--", 0) != 0; });
  return named == options.words.end() ? "" : *named;
}

DestconfigResult RunOnFile(const Config& config, const DestconfigOptions& options,
                           const std::string& input) {
  ControlsStore store(config.destinations);
  const LoadedRoutes routes = LoadRoutes(config.routes, config.delivery_port);
  Destconfig destconfig(
      {.store = &store,
       .routes = routes.errors.empty() ? &routes.table : nullptr,
       .sources = &config.sources,
       .shards = config.shards,
       .waits = true,
       .check =
           [&config](const std::string& text) {
             return LinesOf(LoadTables(config, io::ReadClock().wall, &text).errors);
           },
       .use = [] { return "no engine runs: it will be in use when one starts\n"; }});
  return destconfig.Run(options.words, input);
}

absl::StatusOr<std::string> RequestOf(const DestconfigOptions& options, const std::string& input) {
  const Json asked = {{"words", options.words}, {"input", input}};
  try {
    return asked.dump();
  } catch (const Json::type_error&) {
    return absl::InvalidArgumentError("words and files must be UTF-8");
  }
}

absl::StatusOr<DestconfigResult> RunAnywhere(const DestconfigOptions& options,
                                             const std::string& input) {
  const LoadedConfig loaded = LoadConfig(options.config_path);
  if (!loaded.errors.empty() && options.socket.empty()) {
    return absl::InvalidArgumentError(loaded.errors.front().ToString());
  }
  const std::string socket = options.socket.empty() ? loaded.config.control_socket : options.socket;
  const absl::StatusOr<std::string> request = RequestOf(options, input);
  if (!request.ok()) return request.status();
  const absl::StatusOr<ControlAnswer> answer =
      AskEngine(socket, "POST", "/v1/destconfig", *request);
  if (answer.ok()) return DestconfigResultOf(Json::parse(answer->body, nullptr, false));
  if (!options.socket.empty() || !absl::IsUnavailable(answer.status())) return answer.status();
  return RunOnFile(loaded.config, options, input);
}

// What export made: to standard output, or to its file.
absl::Status PutOut(const std::string& file, const std::string& text, std::ostream& out) {
  if (file == "-") {
    out << text;
    return absl::OkStatus();
  }
  std::ofstream to(file);
  to << text << std::flush;
  return to ? absl::OkStatus() : absl::UnavailableError(absl::StrCat(file, ": cannot be written"));
}

}  // namespace

int RunDestconfig(const DestconfigOptions& options, std::ostream& out, std::ostream& errors) {
  std::string input;
  if (Is(options, "import")) {
    absl::StatusOr<std::string> text = ReadTextFile(FileOf(options));
    if (!text.ok()) {
      errors << "sluice: " << FileOf(options) << ": " << text.status().message() << "\n";
      return 2;
    }
    input = *std::move(text);
  }
  absl::StatusOr<DestconfigResult> result = RunAnywhere(options, input);
  if (!result.ok()) {
    errors << "sluice: " << result.status().message() << "\n";
    return 2;
  }
  if (options.json) {
    out << ToJson(*result).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return result->done ? 0 : 1;
  }
  for (const std::string& error : result->errors) errors << error << "\n";
  out << result->text;
  if (!result->done) return 1;
  if (!Is(options, "export")) return 0;
  const absl::Status put = PutOut(FileOf(options), result->output, out);
  if (!put.ok()) errors << "sluice: " << put.message() << "\n";
  return put.ok() ? 0 : 1;
}

}  // namespace sluice::tools
