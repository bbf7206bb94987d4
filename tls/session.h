// What a server gave for resuming a session with it, as bytes: wolfSSL's object has 37 KB whatever
// is in it, and its bytes have 0.3 KB, the ticket and the chain.
//
// They never leave the process: what reads them back believes their lengths (CVE-2026-2646). They
// hold a secret, and are wiped at the end.

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "engine/base/time.h"

struct WOLFSSL;
struct WOLFSSL_SESSION;

namespace sluice::tls {

class Session {
 public:
  // As it is now: a stream's own changes with the next ticket. Null where memory has run out.
  static std::unique_ptr<Session> CopyOf(WOLFSSL_SESSION* session);
  Session(std::string bytes, Duration lifetime) : bytes_(std::move(bytes)), lifetime_(lifetime) {}
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Before the client's handshake. Where this fails, that is a full one.
  void OfferBy(WOLFSSL* client) const;

  // How long the server will resume it, at most, from when it was given.
  Duration Lifetime() const { return lifetime_; }
  size_t bytes() const { return bytes_.size(); }

 private:
  std::string bytes_;
  const Duration lifetime_;
};

}  // namespace sluice::tls
