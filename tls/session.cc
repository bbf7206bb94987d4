#include "tls/session.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>

#include <string.h>

#include <chrono>

#include "engine/base/check.h"

namespace sluice::tls {

std::unique_ptr<Session> Session::CopyOf(WOLFSSL_SESSION* session) {
  const int size = wolfSSL_i2d_SSL_SESSION(session, nullptr);
  if (size <= 0) return nullptr;
  std::string bytes(static_cast<size_t>(size), '\0');
  auto* into = reinterpret_cast<unsigned char*>(bytes.data());
  CHECK(wolfSSL_i2d_SSL_SESSION(session, &into) == size);
  return std::make_unique<Session>(std::move(bytes),
                                   std::chrono::seconds(wolfSSL_SESSION_get_timeout(session)));
}

Session::~Session() {
  explicit_bzero(bytes_.data(), bytes_.size());
}

void Session::OfferBy(WOLFSSL* client) const {
  const auto* from = reinterpret_cast<const unsigned char*>(bytes_.data());
  WOLFSSL_SESSION* session =
      wolfSSL_d2i_SSL_SESSION(nullptr, &from, static_cast<long>(bytes_.size()));
  if (session == nullptr) return;
  wolfSSL_set_session(client, session);
  wolfSSL_SESSION_free(session);
}

}  // namespace sluice::tls
