#include "tls/verdict_cache.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "tls/libcrypto.h"

namespace sluice::tls {
namespace {

// Each part with its length before it, so that no two questions are one text.
class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new()) {
    CHECK(context_ != nullptr);
    CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void Add(uint64_t number) {
    CHECK(EVP_DigestUpdate(context_.get(), &number, sizeof(number)) == 1);
  }
  void Add(const void* bytes, size_t length) {
    Add(length);
    CHECK(EVP_DigestUpdate(context_.get(), bytes, length) == 1);
  }
  void Add(const std::vector<std::string>& names) {
    Add(names.size());
    for (const std::string& name : names) Add(name.data(), name.size());
  }

  VerdictCache::Key End() {
    VerdictCache::Key key;
    unsigned int length = 0;
    CHECK(EVP_DigestFinal_ex(context_.get(), key.data(), &length) == 1);
    CHECK(length == key.size());
    return key;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context_;
};

}  // namespace

VerdictCache::Key VerdictCache::KeyOf(const Chain& chain, const References& references,
                                      const JudgeOptions& options, uint64_t trust_store_version) {
  Digest digest;
  digest.Add(trust_store_version);
  digest.Add(uint64_t{options.accept_common_name});
  digest.Add(references.domain.data(), references.domain.size());
  digest.Add(references.mx_hosts);
  digest.Add(references.route_hosts);
  digest.Add(chain.size());
  for (const auto& der : chain) digest.Add(der.data(), der.size());
  return digest.End();
}

VerdictCache::VerdictCache(size_t verdicts_max)
    : sets_(std::max<size_t>(verdicts_max / kWays, 1)) {}

std::optional<Verdict> VerdictCache::Find(const Key& key, WallTime now) {
  const std::lock_guard lock(mutex_);
  for (const Slot& slot : SetOf(key)) {
    // A clock that was set back makes what was kept later than now worthless.
    if (slot.key == key && slot.kept_at <= now && now < slot.until) return slot.verdict;
  }
  return std::nullopt;
}

void VerdictCache::Keep(const Key& key, const Verdict& verdict, WallTime now) {
  const WallTime until = std::min(verdict.valid_until, now + limits::kVerdictKept);
  if (until <= now) return;
  const std::lock_guard lock(mutex_);
  Set& set = SetOf(key);
  auto slot = std::find_if(set.begin(), set.end(), [&](const Slot& one) { return one.key == key; });
  if (slot == set.end()) {
    slot = std::min_element(set.begin(), set.end(),
                            [](const Slot& a, const Slot& b) { return a.until < b.until; });
  }
  *slot = {.key = key, .kept_at = now, .until = until, .verdict = verdict};
}

VerdictCache::Set& VerdictCache::SetOf(const Key& key) {
  uint64_t bits = 0;
  std::memcpy(&bits, key.data(), sizeof(bits));
  return sets_[bits % sets_.size()];
}

}  // namespace sluice::tls
