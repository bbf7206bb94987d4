#include "tls/libcrypto.h"

#include <openssl/err.h>

#include "engine/base/check.h"

namespace sluice::tls {

absl::string_view OctetsOf(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

absl::string_view OctetsOf(const ASN1_OBJECT* object) {
  return {reinterpret_cast<const char*>(OBJ_get0_data(object)), OBJ_length(object)};
}

UniqueBio ReadingFrom(absl::string_view text) {
  UniqueBio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  CHECK(bio != nullptr);
  return bio;
}

std::string WrittenTo(BIO* bio) {
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio, &text);
  return std::string(text, length > 0 ? static_cast<size_t>(length) : 0);
}

std::string TakeLibcryptoError() {
  const unsigned long error = ERR_peek_error();
  const char* reason = ERR_reason_error_string(error);
  std::string words = reason != nullptr ? reason : "unknown error";
  ERR_clear_error();
  return words;
}

}  // namespace sluice::tls
