// Hands those of wolfSSL's primitives to libcrypto that libcrypto has by far faster: AES-GCM, the
// signatures of our own keys, the verifying of ECDSA; and seeds its generators of chance without
// opening a file. wolfSSL keeps the protocol, and all other primitives; what it cannot have from
// here, as of another size, it does by itself.

#pragma once

struct WOLFSSL;
struct WOLFSSL_CTX;

namespace sluice::tls {

class SigningKey;

// Once in a process, after wolfSSL's start. False: there is no room among its devices.
bool RegisterCryptoDevice();

// For all sessions of the context that begin after it. `key`: the context's; null where it has
// none, or one that wolfSSL signs by.
void UseCryptoDevice(WOLFSSL_CTX* context, const SigningKey* key);

// For one session, and with the key of its context, which must outlive it.
void SignBy(const SigningKey& key, WOLFSSL* session);

}  // namespace sluice::tls
