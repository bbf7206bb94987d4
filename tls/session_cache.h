// Sessions that servers have given us for resuming, each with the verdict that was reached when its
// certificate was last seen: a resumed session shows none.
//
// A session is taken out to be used, so that a ticket serves once at most (RFC 8446 C.4). The key
// holds all that the verdict depended on and all by which a server may tell one client from
// another: a session from a connection that was not verified is never met by one that must be
// (F38), nor one of an old trust store.
//
// Bounded; the oldest makes room. Any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>

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
  // wolfSSL's object has 37 KB, and its ticket.
  static constexpr size_t kSessionsMax = 1024;
  // RFC 8446 4.6.1.
  static constexpr Duration kSessionKept = std::chrono::hours(7 * 24);

  explicit SessionCache(size_t sessions_max = kSessionsMax) : sessions_max_(sessions_max) {}

  void Put(const std::string& key, std::unique_ptr<Session> session, const Verdict& verdict,
           WallTime now);
  // Null session: none that may be used now.
  CachedSession Take(const std::string& key, WallTime now);
  size_t size() const;

 private:
  struct Entry {
    std::string key;
    CachedSession cached;
  };

  const size_t sessions_max_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // Oldest first.
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace sluice::tls
