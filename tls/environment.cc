#include "tls/environment.h"

#include <xxhash.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/certificate_limits.h"
#include "tls/demo_certificate.h"
#include "tls/key_pair.h"
#include "tls/pem_file.h"

namespace sluice::tls {
namespace {

Version LeastOf(const policy::TlsControls& controls) {
  return controls.version_min == policy::TlsVersion::k13 ? Version::kTls13 : Version::kTls12;
}

absl::StatusOr<std::shared_ptr<const TrustStore>> LoadTrust(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadPemFile(file, limits::kTrustFileBytesMax);
  if (!text.ok()) return text.status();
  // A file that has not changed is the same store: what was verified by it stands.
  const uint64_t version = XXH3_64bits(text->data(), text->size());
  absl::StatusOr<TrustStore> store = TrustStore::Parse(*text, file, version);
  if (!store.ok()) return store.status();
  return std::make_shared<const TrustStore>(*std::move(store));
}

}  // namespace

// What is being loaded, and what was wrong with it.
class EnvironmentLoader {
 public:
  EnvironmentLoader(const Environment::Options& options, WallTime now)
      : options_(options), now_(now), made_(std::make_unique<Environment>()) {}

  void LoadFor(const policy::TlsControls& controls);
  void LoadServer(const std::string& certificate);
  Environment::Loaded Finish();

 private:
  const KeyPair* PairNamed(const std::string& name);
  const KeyPair* Demo();
  void LoadTrustFile(const std::string& file, bool needed);
  void Fail(std::string error) { errors_.insert(std::move(error)); }

  const Environment::Options& options_;
  const WallTime now_;
  std::unique_ptr<Environment> made_;
  std::map<std::string, KeyPair> pairs_;  // By the certificate's name; empty: the demo one.
  std::set<std::string> errors_;
};

const KeyPair* EnvironmentLoader::Demo() {
  const auto found = pairs_.find("");
  if (found != pairs_.end()) return &found->second;
  absl::StatusOr<DemoCertificate> demo = MakeDemoCertificate(options_.hostname, now_);
  if (!demo.ok()) {
    Fail(std::string(demo.status().message()));
    return nullptr;
  }
  made_->shows_demo_ = true;
  KeyPair& pair = pairs_[""];
  pair.chain_pem = std::move(demo->certificate_pem);
  pair.key_pem = std::move(demo->key_pem);
  return &pair;
}

const KeyPair* EnvironmentLoader::PairNamed(const std::string& name) {
  if (name.empty()) return Demo();
  const auto found = pairs_.find(name);
  if (found != pairs_.end()) return &found->second;
  for (const CertificateFiles& files : options_.certificates) {
    if (files.name != name) continue;
    absl::StatusOr<KeyPair> loaded = LoadKeyPair(files.certificate, files.key, now_);
    if (loaded.ok()) return &(pairs_[name] = *std::move(loaded));
    Fail(std::string(loaded.status().message()));
    return nullptr;
  }
  Fail(absl::StrCat("there is no certificate '", name, "'"));
  return nullptr;
}

void EnvironmentLoader::LoadFor(const policy::TlsControls& controls) {
  if (controls.level == policy::TlsLevel::kOff) return;
  LoadTrustFile(controls.ca_file.empty() ? options_.ca_file : controls.ca_file.str(),
                policy::Verifies(controls.level) || !controls.ca_file.empty());
  const std::pair key(controls.certificate.str(), controls.version_min);
  if (made_->clients_.contains(key)) return;
  const KeyPair* pair = PairNamed(controls.certificate);
  if (pair == nullptr) return;
  absl::StatusOr<std::shared_ptr<const Context>> context = Context::ForClients(
      {.least = LeastOf(controls), .certificate = pair->chain_pem, .key = pair->key_pem});
  if (!context.ok()) {
    return Fail(absl::StrCat("certificate '", controls.certificate.str(),
                             "': ", context.status().message()));
  }
  made_->clients_[key] = *std::move(context);
}

void EnvironmentLoader::LoadServer(const std::string& certificate) {
  const KeyPair* pair = PairNamed(certificate);
  if (pair == nullptr || made_->servers_.contains(certificate)) return;
  absl::StatusOr<std::shared_ptr<const Context>> context =
      Context::ForServers({.certificate = pair->chain_pem, .key = pair->key_pem});
  if (!context.ok()) {
    return Fail(absl::StrCat("certificate '", certificate, "': ", context.status().message()));
  }
  made_->servers_[certificate] = *std::move(context);
}

// A level that does not look at certificates does without.
void EnvironmentLoader::LoadTrustFile(const std::string& file, bool needed) {
  if (made_->trust_.contains(file)) return;
  absl::StatusOr<std::shared_ptr<const TrustStore>> loaded = LoadTrust(file);
  if (loaded.ok()) {
    made_->trust_[file] = *std::move(loaded);
  } else if (needed) {
    Fail(std::string(loaded.status().message()));
  }
}

Environment::Loaded EnvironmentLoader::Finish() {
  Environment::Loaded loaded;
  loaded.errors.assign(errors_.begin(), errors_.end());
  made_->ca_file_ = options_.ca_file;
  if (loaded.errors.empty()) loaded.environment = std::move(made_);
  return loaded;
}

Environment::Loaded Environment::Load(const Options& options,
                                      const std::vector<policy::TlsControls>& used, WallTime now) {
  EnvironmentLoader loader(options, now);
  for (const policy::TlsControls& controls : used) loader.LoadFor(controls);
  for (const std::string& certificate : options.listener_certificates) {
    loader.LoadServer(certificate);
  }
  return loader.Finish();
}

std::shared_ptr<const Context> Environment::ContextFor(const policy::TlsControls& controls) const {
  const auto found = clients_.find({controls.certificate.str(), controls.version_min});
  CHECK(found != clients_.end());
  return found->second;
}

std::shared_ptr<const TrustStore> Environment::TrustFor(const policy::TlsControls& controls) const {
  const auto found = trust_.find(controls.ca_file.empty() ? ca_file_ : controls.ca_file.str());
  return found == trust_.end() ? nullptr : found->second;
}

std::shared_ptr<const Context> Environment::ServerContext(const std::string& certificate) const {
  const auto found = servers_.find(certificate);
  return found == servers_.end() ? nullptr : found->second;
}

bool Environment::InUse() const {
  const auto taken = [](const auto& each) { return each.second.use_count() > 1; };
  return std::any_of(clients_.begin(), clients_.end(), taken) ||
         std::any_of(servers_.begin(), servers_.end(), taken) ||
         std::any_of(trust_.begin(), trust_.end(), taken);
}

}  // namespace sluice::tls
