// What tests do to a context by wolfSSL's own calls, whose headers take the same names as
// libcrypto's.

#pragma once

#include <string>

#include "tls/context.h"
#include "tls/signature.h"

namespace sluice::tls {

// Sessions of the context that begin after it agree on this suite, by wolfSSL's name, or on none.
void UseOnly(const Context& context, const std::string& suite);

// Sessions of the context, a server's, end where the client shows none.
void AskForCertificate(const Context& context);

// Sessions of the context sign by this key of ECDSA, whatever their certificate says. One context
// at a time; the key must outlive its sessions.
void SignInsteadBy(const SigningKey& key, const Context& context);

}  // namespace sluice::tls
