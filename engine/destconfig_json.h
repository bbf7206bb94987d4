// A result of destconfig as JSON: what the control socket carries, and `--json` prints.

#pragma once

#include <nlohmann/json.hpp>

#include "engine/destconfig.h"

namespace sluice {

nlohmann::ordered_json ToJson(const DestconfigResult& result);
DestconfigResult DestconfigResultOf(const nlohmann::ordered_json& json);

}  // namespace sluice
