#include "engine/destconfig_json.h"

namespace sluice {

using Json = nlohmann::ordered_json;

Json ToJson(const DestconfigResult& result) {
  Json json = {{"done", result.done}};
  if (!result.errors.empty()) json["error"] = result.errors.front();
  if (!result.errors.empty()) json["errors"] = result.errors;
  if (!result.text.empty()) json["text"] = result.text;
  if (!result.output.empty()) json["output"] = result.output;
  return json;
}

DestconfigResult DestconfigResultOf(const Json& json) {
  DestconfigResult result;
  if (!json.is_object()) {
    result.errors = {"the engine gave no answer that can be read"};
    return result;
  }
  result.done = json.value("done", false);
  result.errors = json.value("errors", std::vector<std::string>());
  if (result.errors.empty() && !result.done) result.errors = {json.value("error", "no answer")};
  result.text = json.value("text", "");
  result.output = json.value("output", "");
  return result;
}

}  // namespace sluice
