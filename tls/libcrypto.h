// libcrypto's objects with their owners. Only .cc files include it, and never together with
// wolfSSL, whose headers take the same names.

#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tls {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using UniqueBio = std::unique_ptr<BIO, Freed<BIO_free>>;
using UniqueCipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;
using UniqueKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using UniqueKeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using UniqueConstraints = std::unique_ptr<NAME_CONSTRAINTS, Freed<NAME_CONSTRAINTS_free>>;
using UniqueX509 = std::unique_ptr<X509, Freed<X509_free>>;

// Lent by the argument.
absl::string_view OctetsOf(const ASN1_STRING* string);
absl::string_view OctetsOf(const ASN1_OBJECT* object);

// Reads from `text`, which must outlive it.
UniqueBio ReadingFrom(absl::string_view text);
std::string WrittenTo(BIO* bio);

// The oldest of libcrypto's errors on this thread, in words; forgets them all.
std::string TakeLibcryptoError();

}  // namespace sluice::tls
