// What the tables name of TLS, loaded: our certificates as contexts, the files of trusted
// certificates. Made on the control thread at the start and with each new table; immutable. Shards
// share what they take out of it, so that a new one may replace it at any time.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/tls_controls.h"
#include "tls/context.h"
#include "tls/trust_store.h"

namespace sluice::tls {

struct CertificateFiles {
  std::string name;
  std::string certificate;  // Paths of PEM files.
  std::string key;
};

class Environment {
 public:
  struct Options {
    std::string hostname;  // Of the demo certificate.
    std::string ca_file;   // Where a destination names none.
    std::vector<CertificateFiles> certificates;
    std::vector<std::string> listener_certificates;  // Names.
  };

  struct Loaded;

  // Loads what `used` asks for. Errors name the file.
  static Loaded Load(const Options& options, const std::vector<policy::TlsControls>& used,
                     WallTime now);

  // What `controls` ask for; it was among those loaded.
  std::shared_ptr<const Context> ContextFor(const policy::TlsControls& controls) const;
  std::shared_ptr<const TrustStore> TrustFor(const policy::TlsControls& controls) const;
  // For a listener; null without a name.
  std::shared_ptr<const Context> ServerContext(const std::string& certificate) const;

  // Somebody still has what was taken out of it. Freeing it takes time: not on a shard.
  bool InUse() const;

  // A self-signed certificate stands in where the operator names none.
  bool shows_demo() const { return shows_demo_; }

 private:
  friend class EnvironmentLoader;

  bool shows_demo_ = false;
  std::string ca_file_;
  std::map<std::pair<std::string, policy::TlsVersion>, std::shared_ptr<const Context>> clients_;
  std::map<std::string, std::shared_ptr<const Context>> servers_;
  std::map<std::string, std::shared_ptr<const TrustStore>> trust_;
};

struct Environment::Loaded {
  std::shared_ptr<const Environment> environment;  // Null where there are errors.
  std::vector<std::string> errors;
};

}  // namespace sluice::tls
