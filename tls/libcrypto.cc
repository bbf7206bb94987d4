#include "tls/libcrypto.h"

#include <openssl/err.h>

#include "engine/base/check.h"

namespace sluice::tls {

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
