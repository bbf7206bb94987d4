#include "tls/session.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>

#include <chrono>

namespace sluice::tls {

Session::~Session() {
  wolfSSL_SESSION_free(session_);
}

Duration Session::Lifetime() const {
  return std::chrono::seconds(wolfSSL_SESSION_get_timeout(session_));
}

}  // namespace sluice::tls
