// A server that gives tickets, as most mail servers do and ours don't: plain wolfSSL over buffers,
// with the calls of Stream that a handshake takes.

#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "tls/stream.h"

struct WOLFSSL;
struct WOLFSSL_CTX;

namespace sluice::tls {

// What its sessions have in common: the certificate, and the key of the tickets.
class TicketContext {
 public:
  // Chain and key in PEM. wolfSSL has been started by a Context before.
  TicketContext(const std::string& certificate, const std::string& key);
  ~TicketContext();
  TicketContext(const TicketContext&) = delete;
  TicketContext& operator=(const TicketContext&) = delete;

  WOLFSSL_CTX* get() const { return context_; }

 private:
  WOLFSSL_CTX* context_;
};

class TicketServer {
 public:
  explicit TicketServer(const TicketContext& context);  // Which must outlive it.
  ~TicketServer();
  TicketServer(const TicketServer&) = delete;
  TicketServer& operator=(const TicketServer&) = delete;

  void Feed(absl::string_view ciphertext) { input_.append(ciphertext.data(), ciphertext.size()); }
  Step Handshake();  // A ticket is in the output when established.
  void TakeOutput(std::string& buffer) { std::swap(buffer, output_); }

 private:
  static int OnRead(WOLFSSL* ssl, char* into, int bytes, void* server);
  static int OnWrite(WOLFSSL* ssl, char* from, int bytes, void* server);

  WOLFSSL* ssl_;
  std::string input_;
  std::string output_;
};

}  // namespace sluice::tls
