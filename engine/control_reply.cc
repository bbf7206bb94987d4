#include "engine/control_reply.h"

#include <nlohmann/json.hpp>

namespace sluice {

using admin::ControlReply;
using Json = nlohmann::ordered_json;

ControlReply JsonReply(int status, const Json& json) {
  // What others wrote is among it: bytes that are no UTF-8 are replaced.
  return {.status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

ControlReply ErrorReply(int status, const std::string& why) {
  return JsonReply(status, {{"error", why}});
}

ControlReply ErrorReply(const absl::Status& error) {
  const int status = absl::IsInvalidArgument(error)                                ? 400
                     : absl::IsNotFound(error) || absl::IsResourceExhausted(error) ? 409
                                                                                   : 500;
  return ErrorReply(status, std::string(error.message()));
}

}  // namespace sluice
