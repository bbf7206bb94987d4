#include "policy/bounce_tag.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/check.h"

namespace sluice::policy {
namespace {

constexpr absl::string_view kMark = "prvs=";
constexpr size_t kTagBytes = 10;
constexpr size_t kLocalPartBytesMax = 64;
constexpr int kValidDays = 7;
constexpr size_t kSignatureBytes = 3;

bool MayBeTagged(absl::string_view local_part) {
  if (local_part.empty() || local_part.front() == '"') return false;
  if (absl::StartsWithIgnoreCase(local_part, kMark)) return false;
  return kMark.size() + local_part.size() + 1 + kTagBytes <= kLocalPartBytesMax;
}

std::string Signature(const std::string& key, absl::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int bytes = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  CHECK(HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()), data, text.size(), digest.data(),
             &bytes) != nullptr);
  CHECK(bytes >= kSignatureBytes);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), kSignatureBytes));
}

}  // namespace

BounceTagger::BounceTagger(std::string key, int key_number)
    : key_(std::move(key)), key_number_(key_number) {
  CHECK(!key_.empty());
  CHECK(key_number >= 0 && key_number <= 9);
}

void BounceTagger::Tag(absl::string_view sender, WallTime now, std::string& tagged) const {
  tagged.assign(sender.data(), sender.size());
  const size_t at = sender.rfind('@');
  if (at == absl::string_view::npos || !MayBeTagged(sender.substr(0, at))) return;
  const auto days =
      std::chrono::duration_cast<std::chrono::hours>(now.time_since_epoch()).count() / 24;
  const std::string head = absl::StrFormat("%d%03d", key_number_, (days + kValidDays) % 1000);
  const std::string signature = Signature(key_, absl::StrCat(head, sender));
  tagged = absl::StrCat(kMark, sender.substr(0, at), "=", head, signature, sender.substr(at));
}

}  // namespace sluice::policy
