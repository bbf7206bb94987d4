#include "bench/micro/ticket_server.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"

namespace sluice::tls {
namespace {

const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

TicketContext::TicketContext(const std::string& certificate, const std::string& key)
    : context_(wolfSSL_CTX_new(wolfTLSv1_3_server_method())) {
  CHECK(context_ != nullptr);
  CHECK(wolfSSL_CTX_use_certificate_chain_buffer(context_, Bytes(certificate),
                                                 static_cast<long>(certificate.size())) ==
        WOLFSSL_SUCCESS);
  CHECK(wolfSSL_CTX_use_PrivateKey_buffer(context_, Bytes(key), static_cast<long>(key.size()),
                                          WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS);
  int groups[] = {WOLFSSL_ECC_X25519};
  CHECK(wolfSSL_CTX_set_groups(context_, groups, 1) == WOLFSSL_SUCCESS);
  wolfSSL_CTX_set_verify(context_, WOLFSSL_VERIFY_NONE, nullptr);
  wolfSSL_CTX_set_session_cache_mode(context_, WOLFSSL_SESS_CACHE_OFF);
}

TicketContext::~TicketContext() {
  wolfSSL_CTX_free(context_);
}

TicketServer::TicketServer(const TicketContext& context) : ssl_(wolfSSL_new(context.get())) {
  CHECK(ssl_ != nullptr);
  wolfSSL_SSLSetIORecv(ssl_, &TicketServer::OnRead);
  wolfSSL_SSLSetIOSend(ssl_, &TicketServer::OnWrite);
  wolfSSL_SetIOReadCtx(ssl_, this);
  wolfSSL_SetIOWriteCtx(ssl_, this);
}

TicketServer::~TicketServer() {
  wolfSSL_free(ssl_);
}

Step TicketServer::Handshake() {
  const int result = wolfSSL_accept(ssl_);
  if (result == WOLFSSL_SUCCESS) return Step::kEstablished;
  return wolfSSL_get_error(ssl_, result) == WOLFSSL_ERROR_WANT_READ ? Step::kNeedsInput
                                                                    : Step::kFailed;
}

int TicketServer::OnRead(WOLFSSL*, char* into, int bytes, void* context) {
  std::string& input = static_cast<TicketServer*>(context)->input_;
  if (input.empty()) return WOLFSSL_CBIO_ERR_WANT_READ;
  const size_t take = std::min(input.size(), static_cast<size_t>(bytes));
  std::memcpy(into, input.data(), take);
  input.erase(0, take);
  return static_cast<int>(take);
}

int TicketServer::OnWrite(WOLFSSL*, char* from, int bytes, void* context) {
  static_cast<TicketServer*>(context)->output_.append(from, static_cast<size_t>(bytes));
  return bytes;
}

}  // namespace sluice::tls
