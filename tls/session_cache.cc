#include "tls/session_cache.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"

namespace sluice::tls {

std::string SessionKey::Text() const {
  return absl::StrCat(host, "\n", address.ToString(), "\n", source, "\n", server_name, "\n", names,
                      "\n", static_cast<int>(level), "\n", trust_version, "\n", context_version);
}

void SessionCache::Put(const std::string& key, std::unique_ptr<Session> session,
                       const Verdict& verdict, WallTime now) {
  WallTime until = std::min(now + kSessionKept, now + session->Lifetime());
  // Of a bad chain, valid_until says when it may turn good: then too it must be seen again.
  until = std::min(until, verdict.valid_until);
  if (until <= now) return;
  CachedSession replaced;  // Freed without the mutex.
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    replaced = std::move(found->second->cached);
    entries_.erase(found->second);
    by_key_.erase(found);
  } else if (entries_.size() >= sessions_max_) {
    replaced = std::move(entries_.front().cached);
    by_key_.erase(entries_.front().key);
    entries_.pop_front();
  }
  entries_.push_back({key, {std::move(session), verdict, until}});
  by_key_.emplace(key, std::prev(entries_.end()));
}

CachedSession SessionCache::Take(const std::string& key, WallTime now) {
  CachedSession taken;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return taken;
    taken = std::move(found->second->cached);
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  if (now >= taken.usable_until) return CachedSession();
  return taken;
}

size_t SessionCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sluice::tls
