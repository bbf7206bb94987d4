#include "tls/anchors.h"

#include <algorithm>
#include <utility>

namespace sluice::tls {

void Anchors::Add(Certificate certificate) {
  if (Contains(certificate)) return;
  named_[certificate.subject()].push_back(std::move(certificate));
  ++size_;
}

std::span<const Certificate> Anchors::Named(const X509_NAME* subject) const {
  const auto found = named_.find(subject);
  if (found == named_.end()) return {};
  return found->second;
}

bool Anchors::Contains(const Certificate& certificate) const {
  const auto named = Named(certificate.subject());
  return std::find(named.begin(), named.end(), certificate) != named.end();
}

}  // namespace sluice::tls
