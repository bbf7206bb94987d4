#include "tls/trust_store.h"

#include <utility>

#include "tls/anchors.h"
#include "tls/certificate_limits.h"
#include "tls/pem_file.h"

namespace sluice::tls {

absl::StatusOr<TrustStore> TrustStore::Load(const std::string& file, uint64_t version) {
  const auto text = ReadPemFile(file, limits::kTrustFileBytesMax);
  if (!text.ok()) return text.status();
  return Parse(*text, file, version);
}

absl::StatusOr<TrustStore> TrustStore::Parse(absl::string_view pem, absl::string_view file,
                                             uint64_t version) {
  auto certificates = ReadPemCertificates(pem, file, limits::kTrustedCertificatesMax);
  if (!certificates.ok()) return certificates.status();
  auto anchors = std::make_unique<Anchors>();
  for (UniqueX509& x509 : *certificates) anchors->Add(Certificate(std::move(x509)));
  return TrustStore(std::move(anchors), version);
}

TrustStore::TrustStore(std::unique_ptr<const Anchors> anchors, uint64_t version)
    : anchors_(std::move(anchors)), version_(version) {}

TrustStore::TrustStore(TrustStore&&) noexcept = default;
TrustStore& TrustStore::operator=(TrustStore&&) noexcept = default;
TrustStore::~TrustStore() = default;

size_t TrustStore::size() const {
  return anchors_->size();
}

}  // namespace sluice::tls
