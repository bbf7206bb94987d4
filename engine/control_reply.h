// Replies to operators' requests: JSON objects, and refusals with their sentence.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/status.h"
#include "engine/admin/control_queue.h"

namespace sluice {

admin::ControlReply JsonReply(int status, const nlohmann::ordered_json& json);
admin::ControlReply ErrorReply(int status, const std::string& why);
// With the HTTP status that the error's code stands for.
admin::ControlReply ErrorReply(const absl::Status& error);

}  // namespace sluice
