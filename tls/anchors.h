// The trusted certificates, found by their subject.

#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include "tls/certificate.h"

namespace sluice::tls {

class Anchors {
 public:
  void Add(Certificate certificate);  // Once for each different one.

  // Those with this subject, compared as RFC 5280 7.1 has it, in the order of the file.
  std::span<const Certificate> Named(const X509_NAME* subject) const;
  bool Contains(const Certificate& certificate) const;
  size_t size() const { return size_; }

 private:
  struct ByName {
    bool operator()(const X509_NAME* a, const X509_NAME* b) const {
      return X509_NAME_cmp(a, b) < 0;
    }
  };

  // Each key belongs to the first certificate of its value.
  std::map<const X509_NAME*, std::vector<Certificate>, ByName> named_;
  size_t size_ = 0;
};

}  // namespace sluice::tls
