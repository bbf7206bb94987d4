#include "policy/name.h"

#include <mutex>

#include "absl/container/node_hash_set.h"

namespace sluice::policy {
namespace {

const std::string* Kept(absl::string_view text) {
  // Not destroyed: threads may still read names while the process ends.
  static auto& lock = *new std::mutex;
  static auto& names = *new absl::node_hash_set<std::string>;
  const std::lock_guard guard(lock);
  const auto found = names.find(text);
  return found != names.end() ? &*found : &*names.emplace(text).first;
}

const std::string* Empty() {
  static const std::string* const empty = Kept("");
  return empty;
}

}  // namespace

Name::Name() : text_(Empty()) {}

Name::Name(absl::string_view text) : text_(text.empty() ? Empty() : Kept(text)) {}

Name::Name(const std::string& text) : Name(absl::string_view(text)) {}

Name::Name(const char* text) : Name(absl::string_view(text)) {}

}  // namespace sluice::policy
