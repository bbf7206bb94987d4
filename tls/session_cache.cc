#include "tls/session_cache.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

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
  Entries out;
  const std::lock_guard lock(mutex_);
  OfKey& of_key = by_key_[key];
  const bool judged_anew =
      !of_key.empty() && of_key.back()->cached.verdict.Finding() != verdict.Finding();
  if (judged_anew) RemoveAll(of_key, out);
  if (of_key.size() == kSessionsPerKeyMax) Remove(of_key, of_key.begin(), out);
  if (!of_key.empty()) spare_.splice(spare_.end(), newest_, of_key.back());
  newest_.push_back({key, {std::move(session), verdict, until}});
  of_key.push_back(std::prev(newest_.end()));
  bytes_ += newest_.back().bytes();
  while (bytes_ > bytes_max_) RemoveForRoom(out);
}

CachedSession SessionCache::Take(const std::string& key, WallTime now) {
  Entries out;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return CachedSession();
    OfKey& of_key = found->second;
    do {
      Remove(of_key, std::prev(of_key.end()), out);
    } while (!of_key.empty() && now >= out.back().cached.usable_until);
    if (of_key.empty()) by_key_.erase(found);
  }
  if (now >= out.back().cached.usable_until) return CachedSession();
  return std::move(out.back().cached);
}

void SessionCache::Drop(const std::string& key) {
  Entries out;
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  RemoveAll(found->second, out);
  by_key_.erase(found);
}

size_t SessionCache::size() const {
  const std::lock_guard lock(mutex_);
  return newest_.size() + spare_.size();
}

void SessionCache::RemoveAll(OfKey& of_key, Entries& out) {
  while (!of_key.empty()) Remove(of_key, of_key.begin(), out);
}

// The first in line is its key's oldest: spare ones stand in the order in which they came, and
// where there are none, each key has one.
void SessionCache::RemoveForRoom(Entries& out) {
  const Entries& line = spare_.empty() ? newest_ : spare_;
  const auto found = by_key_.find(line.front().key);
  CHECK(found != by_key_.end());
  CHECK(&*found->second.front() == &line.front());
  Remove(found->second, found->second.begin(), out);
  if (found->second.empty()) by_key_.erase(found);
}

void SessionCache::Remove(OfKey& of_key, OfKey::iterator entry, Entries& out) {
  const bool newest = std::next(entry) == of_key.end();
  out.splice(out.end(), newest ? newest_ : spare_, *entry);
  bytes_ -= out.back().bytes();
  of_key.erase(entry);
  if (newest && !of_key.empty()) newest_.splice(newest_.end(), spare_, of_key.back());
}

// The key stands here and in the table.
size_t SessionCache::Entry::bytes() const {
  return sizeof(Entry) + 2 * key.size() + cached.session->bytes() + cached.verdict.subject.size() +
         cached.verdict.detail.size();
}

}  // namespace sluice::tls
