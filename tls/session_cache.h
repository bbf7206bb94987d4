// Sessions that servers have given us for resuming, each with the verdict that was reached when its
// certificate was last seen: a resumed session shows none.
//
// A session is taken out to be used, so that a ticket serves once at most (RFC 8446 C.4). So there
// are several of a key, one for each connection that is open to the host at once. The newest is
// taken first, since it lives longest. All of a key have the verdict of the newest.
//
// The key holds all that the verdict depended on and all by which a server may tell one client from
// another: a session from a connection that was not verified is never met by one that must be
// (F38), nor one of an old trust store.
//
// Bounded in bytes. The oldest makes room of those that are not their key's newest, so that hosts
// with many connections leave the others theirs; where there is none such, the oldest of all.
//
// Any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "tls/session.h"
#include "tls/verify.h"

namespace sluice::tls {

struct SessionKey {
  std::string host;  // As the route names it.
  SocketAddress address;
  std::string source;       // Local address and EHLO name; empty: the system's.
  std::string server_name;  // SNI.
  std::string names;        // Of the references, and options of judging, in one line.
  uint8_t level = 0;        // Of the policy.
  uint64_t trust_version = 0;
  uint64_t context_version = 0;  // Of our certificate and least version.

  // All of it in one string.
  std::string Text() const;
};

struct CachedSession {
  std::unique_ptr<Session> session;
  Verdict verdict;
  WallTime usable_until{};  // The session's own end, a week, or the chain's end: the first of them.
};

class SessionCache {
 public:
  // Some ten thousand sessions with the chain of two certificates that is usual.
  static constexpr size_t kBytesMax = 32 << 20;
  // As many as connections to a host begin at about the same time: of more that are open, some have
  // yet to take one and some have given one back. Twenty open at once is a usual limit.
  static constexpr size_t kSessionsPerKeyMax = 32;
  // RFC 8446 4.6.1.
  static constexpr Duration kSessionKept = std::chrono::hours(7 * 24);

  explicit SessionCache(size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}

  // Drops those of the key that have another verdict: what the host shows now counts.
  void Put(const std::string& key, std::unique_ptr<Session> session, const Verdict& verdict,
           WallTime now);
  // The newest that may be used now. Null session: there is none.
  CachedSession Take(const std::string& key, WallTime now);
  // All of the key.
  void Drop(const std::string& key);
  size_t size() const;

 private:
  struct Entry {
    std::string key;
    CachedSession cached;

    size_t bytes() const;
  };
  using Entries = std::list<Entry>;
  using OfKey = std::vector<Entries::iterator>;  // Oldest first.

  // Into `out`, so that it is freed without the mutex.
  void Remove(OfKey& of_key, OfKey::iterator entry, Entries& out);
  void RemoveAll(OfKey& of_key, Entries& out);
  void RemoveForRoom(Entries& out);

  const size_t bytes_max_;
  mutable std::mutex mutex_;
  Entries newest_;  // One of each key; and the rest. The next to make room first.
  Entries spare_;
  size_t bytes_ = 0;  // Of both.
  absl::flat_hash_map<std::string, OfKey> by_key_;
};

}  // namespace sluice::tls
