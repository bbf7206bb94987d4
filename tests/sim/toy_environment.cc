#include "tests/sim/toy_environment.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/demo_certificate.h"

namespace sluice::sim {
namespace {

constexpr WallTime kNow{std::chrono::seconds(1'767'225'600)};  // 2026-01-01.

// A file that ends with the process; its path.
std::string MakeFile(const std::string& text) {
  const int file = memfd_create("toy", 0);
  CHECK(file >= 0);
  CHECK(fchmod(file, 0600) == 0);
  CHECK(write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return absl::StrCat("/proc/self/fd/", file);
}

std::shared_ptr<const tls::Environment> Make() {
  const absl::StatusOr<tls::DemoCertificate> pair = tls::MakeDemoCertificate("relay.test", kNow);
  CHECK(pair.ok());
  tls::Environment::Options options = {.hostname = "relay.test"};
  options.certificates.push_back({.name = "toy",
                                  .certificate = MakeFile(pair->certificate_pem),
                                  .key = MakeFile(pair->key_pem)});
  options.listener_certificates = {"toy"};
  // Contexts are told apart by version alone. No level that verifies: files of authorities are
  // asked for there.
  policy::TlsControls of_12 = {.level = policy::TlsLevel::kRequired};
  policy::TlsControls of_13 = of_12;
  of_13.version_min = policy::TlsVersion::k13;
  tls::Environment::Loaded loaded = tls::Environment::Load(options, {of_12, of_13}, kNow);
  CHECK(loaded.environment != nullptr);
  return loaded.environment;
}

}  // namespace

std::shared_ptr<const tls::Environment> ToyEnvironment() {
  static const std::shared_ptr<const tls::Environment> made = Make();
  return made;
}

}  // namespace sluice::sim
