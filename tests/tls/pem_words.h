// PEM to DER and back, and files to text, for the suites.

#pragma once

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"

namespace sluice::tls {

inline std::vector<std::byte> BytesOf(absl::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return std::vector<std::byte>(begin, begin + text.size());
}

inline std::string FileText(const std::string& file) {
  std::ifstream input(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(input), {});
}

inline std::vector<std::byte> FromBase64(absl::string_view text) {
  std::string der;
  CHECK(absl::Base64Unescape(text, &der));
  return BytesOf(der);
}

inline std::string PemOf(const std::vector<std::byte>& der) {
  const absl::string_view bytes(reinterpret_cast<const char*>(der.data()), der.size());
  const std::string base64 = absl::Base64Escape(bytes);
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (size_t at = 0; at < base64.size(); at += 64) pem += base64.substr(at, 64) + "\n";
  return pem + "-----END CERTIFICATE-----\n";
}

// Every certificate of a PEM text, in order.
inline std::vector<std::vector<std::byte>> CertificatesOf(absl::string_view pem) {
  constexpr absl::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  std::vector<std::vector<std::byte>> certificates;
  for (size_t at = pem.find(kBegin); at != pem.npos; at = pem.find(kBegin, at)) {
    at += kBegin.size();
    certificates.push_back(FromBase64(pem.substr(at, pem.find("-----END", at) - at)));
  }
  return certificates;
}

}  // namespace sluice::tls
