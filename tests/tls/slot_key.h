// Ed25519 keys that are the same in every run, by number: those of the kept inputs of the
// certificates' fuzzer, with which it signs what it has changed.

#pragma once

#include <array>
#include <cstdint>

#include "engine/base/check.h"
#include "tls/libcrypto.h"

namespace sluice::tls {

inline UniqueKey SlotKey(int slot) {
  std::array<uint8_t, 32> secret;
  secret.fill(static_cast<uint8_t>(slot + 1));
  UniqueKey key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret.data(), secret.size()));
  CHECK(key != nullptr);
  return key;
}

}  // namespace sluice::tls
