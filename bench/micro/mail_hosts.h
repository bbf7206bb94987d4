// Mail hosts to shake hands with: each with a key and a certificate of its own, under one
// intermediate CA, which it sends along, and one root, which is trusted.

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tests/tls/certificate_maker.h"
#include "tls/context.h"

namespace sluice::tls {

struct MailHost {
  std::string name;
  std::shared_ptr<const Context> server;
};

class MailHosts {
 public:
  // All keys of one kind: "p256" or "rsa2048". `tickets`: they resume sessions.
  MailHosts(const std::string& kind, size_t hosts, bool tickets = false)
      : root_(Make(CaRecipe("root").Key(kind + ":root"))),
        ca_(Make(CaRecipe("ca").Key(kind + ":ca"), &root_)),
        trust_(std::make_shared<const TrustStore>(Trusting({&root_}))) {
    for (size_t i = 0; i < hosts; ++i) hosts_.push_back(MakeHost(kind, i, tickets));
  }

  size_t size() const { return hosts_.size(); }
  const MailHost& operator[](size_t i) const { return hosts_[i]; }
  const std::shared_ptr<const TrustStore>& trust() const { return trust_; }

  // libcrypto's bare check of a chain's two signatures, which a verdict can't do without.
  void CheckSignatures() const {
    CHECK(X509_verify(last_leaf_.get(), X509_get0_pubkey(ca_.x509.get())) == 1);
    CHECK(X509_verify(ca_.x509.get(), X509_get0_pubkey(root_.x509.get())) == 1);
  }

 private:
  MailHost MakeHost(const std::string& kind, size_t i, bool tickets) {
    MailHost host{.name = absl::StrCat("mx", i, ".example.net")};
    Made leaf = Make(LeafRecipe(host.name).Key(absl::StrCat(kind, ":host", i)), &ca_);
    auto context = Context::ForServers(
        {.certificate = leaf.Pem() + ca_.Pem(), .key = KeyPem(leaf.key), .tickets = tickets});
    CHECK(context.ok());
    host.server = *std::move(context);
    last_leaf_ = std::move(leaf.x509);
    return host;
  }

  const Made root_;
  const Made ca_;
  const std::shared_ptr<const TrustStore> trust_;
  std::vector<MailHost> hosts_;
  UniqueX509 last_leaf_;
};

inline std::shared_ptr<const Context> ClientContext() {
  auto context = Context::ForClients({});
  CHECK(context.ok());
  return *std::move(context);
}

}  // namespace sluice::tls
