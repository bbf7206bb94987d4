#include "tools/sluice/engine_ask.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/status/statusor.h"
#include "tools/sluice/control_client.h"

namespace sluice::tools {

using Json = nlohmann::json;

int AskAndShow(const EngineOptions& options, const EngineQuestion& question, std::ostream& out,
               std::ostream& errors, const std::function<void(const Json& said)>& show) {
  const absl::StatusOr<ControlAnswer> answer =
      AskEngine(options.socket, question.method, question.path, question.body);
  if (!answer.ok()) {
    errors << "sluice: " << answer.status().message() << "\n";
    return 2;
  }
  const Json said = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  if (!said.is_object()) {
    errors << "sluice: the engine's answer cannot be read (status " << answer->status << ")\n";
    return 1;
  }
  if (options.json) {
    out << answer->body << "\n";
  } else if (answer->ok()) {
    show(said);
  } else {
    errors << "sluice: " << said.value("error", answer->body) << "\n";
    for (const Json& line : said.value("errors", Json::array())) {
      errors << line.get<std::string>() << "\n";
    }
  }
  return answer->ok() ? 0 : 1;
}

}  // namespace sluice::tools
