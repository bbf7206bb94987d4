#include "tls/pem_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::tls {
namespace {

// Nobody is there to be asked; without it libcrypto asks on the terminal.
int NoPassPhrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

bool AtEnd() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

}  // namespace

absl::Status FileRefused(absl::string_view file, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", reason));
}

absl::StatusOr<std::string> ReadPemFile(const std::string& file, size_t bytes_max) {
  errno = 0;
  std::ifstream input(file, std::ios::binary);
  if (!input) return FileRefused(file, absl::StrCat("can't be opened: ", std::strerror(errno)));
  std::string text(bytes_max + 1, '\0');
  input.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (input.bad() || (input.fail() && !input.eof())) return FileRefused(file, "can't be read");
  text.resize(static_cast<size_t>(input.gcount()));
  if (text.size() > bytes_max) {
    return FileRefused(file, absl::StrCat("over ", bytes_max, " bytes"));
  }
  return text;
}

absl::StatusOr<std::vector<UniqueX509>> ReadPemCertificates(absl::string_view pem,
                                                            absl::string_view file,
                                                            size_t certificates_max) {
  const UniqueBio bio = ReadingFrom(pem);
  std::vector<UniqueX509> certificates;
  while (true) {
    bool asked = false;
    UniqueX509 x509(PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, &asked));
    if (x509 == nullptr) break;
    if (certificates.size() == certificates_max) {
      return FileRefused(file, absl::StrCat("over ", certificates_max, " certificates"));
    }
    certificates.push_back(std::move(x509));
  }
  const bool at_end = AtEnd();
  const std::string error = TakeLibcryptoError();
  if (!at_end) {
    return FileRefused(
        file, absl::StrCat("certificate ", certificates.size() + 1, " can't be read: ", error));
  }
  if (certificates.empty()) return FileRefused(file, "holds no certificate");
  return certificates;
}

absl::StatusOr<UniqueKey> ReadPemKey(absl::string_view pem, absl::string_view file) {
  // libcrypto's own error for it says no more than that it found nothing to its liking.
  if (!absl::StrContains(pem, "PRIVATE KEY-----")) return FileRefused(file, "holds no private key");
  const UniqueBio bio = ReadingFrom(pem);
  bool asked = false;
  UniqueKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassPhrase, &asked));
  const std::string error = TakeLibcryptoError();
  if (key != nullptr) return key;
  if (asked) return FileRefused(file, "the key is under a pass phrase");
  return FileRefused(file, absl::StrCat("the key can't be read: ", error));
}

}  // namespace sluice::tls
