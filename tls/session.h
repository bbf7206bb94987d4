// What a server gave for resuming a session with it: wolfSSL's object, owned.

#pragma once

#include "engine/base/time.h"

struct WOLFSSL_SESSION;

namespace sluice::tls {

class Session {
 public:
  // Takes over one reference.
  explicit Session(WOLFSSL_SESSION* session) : session_(session) {}
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // How long the server will resume it, at most, from when it was given.
  Duration Lifetime() const;

  WOLFSSL_SESSION* get() const { return session_; }

 private:
  WOLFSSL_SESSION* session_;
};

}  // namespace sluice::tls
