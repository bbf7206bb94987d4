#include "engine/suspects.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/durable_file.h"
#include "engine/text_file.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::string PathIn(const std::string& spool) {
  return spool + "/suspects.json";
}

void Bound(std::vector<Suspect>& list) {
  if (list.size() <= kSuspectsMax) return;
  std::stable_sort(list.begin(), list.end(),
                   [](const Suspect& a, const Suspect& b) { return a.crashes > b.crashes; });
  list.resize(kSuspectsMax);
  std::sort(list.begin(), list.end(),
            [](const Suspect& a, const Suspect& b) { return a.id < b.id; });
}

absl::StatusOr<Suspects> Parse(const std::string& path, const std::string& text) {
  const absl::Status damaged = absl::DataLossError(absl::StrCat(
      path, ": is not what this program writes; remove it, and what is in quarantine is tried"));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("suspects") || !json["suspects"].is_array()) {
    return damaged;
  }
  Suspects suspects;
  if (json.contains("counted_run") && json["counted_run"].is_number_unsigned()) {
    suspects.counted_run = json["counted_run"];
  }
  for (const Json& one : json["suspects"]) {
    if (!one.is_object() || !one.contains("id") || !one["id"].is_string() ||
        !one.contains("crashes") || !one["crashes"].is_number_unsigned()) {
      return damaged;
    }
    const std::optional<MessageId> id = MessageId::Parse(one["id"].get<std::string>());
    if (!id) return damaged;
    suspects.list.push_back({.id = *id, .crashes = one["crashes"].get<uint32_t>()});
  }
  std::sort(suspects.list.begin(), suspects.list.end(),
            [](const Suspect& a, const Suspect& b) { return a.id < b.id; });
  return suspects;
}

}  // namespace

Suspects Count(const Suspects& before, const RunEnd& end) {
  if (end.run == before.counted_run) return before;
  const std::set<MessageId> active(end.active.begin(), end.active.end());
  const std::set<MessageId> tried(end.tried.begin(), end.tried.end());
  std::map<MessageId, uint32_t> crashes;
  for (const Suspect& suspect : before.list) {
    const bool survived =
        tried.contains(suspect.id) && !(end.crashed && active.contains(suspect.id));
    if (!survived) crashes[suspect.id] = suspect.crashes;
  }
  if (end.crashed) {
    for (const MessageId id : active) ++crashes[id];
  }
  Suspects after = {.counted_run = end.run};
  for (const auto& [id, count] : crashes) after.list.push_back({.id = id, .crashes = count});
  Bound(after.list);
  return after;
}

absl::StatusOr<Suspects> LoadSuspects(const std::string& spool) {
  const std::string path = PathIn(spool);
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (absl::IsNotFound(text.status())) return Suspects();
  if (!text.ok()) {
    return absl::Status(text.status().code(), absl::StrCat(path, ": ", text.status().message()));
  }
  return Parse(path, *text);
}

absl::Status SaveSuspects(const std::string& spool, const Suspects& suspects) {
  Json list = Json::array();
  for (const Suspect& suspect : suspects.list) {
    list.push_back({{"id", suspect.id.ToString()}, {"crashes", suspect.crashes}});
  }
  const Json json = {{"counted_run", suspects.counted_run}, {"suspects", std::move(list)}};
  return ReplaceFile(PathIn(spool), json.dump(1) + "\n");
}

absl::StatusOr<bool> ReleaseSuspect(const std::string& spool, MessageId id) {
  absl::StatusOr<Suspects> suspects = LoadSuspects(spool);
  if (!suspects.ok()) return suspects.status();
  const size_t released =
      std::erase_if(suspects->list, [id](const Suspect& suspect) { return suspect.id == id; });
  if (released == 0) return false;
  if (absl::Status saved = SaveSuspects(spool, *suspects); !saved.ok()) return saved;
  return true;
}

}  // namespace sluice
