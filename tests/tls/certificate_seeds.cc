// Writes the kept inputs of the certificates' fuzzer: small whole chains of every shape, accepted
// but for the last few.
//
//   certificate_seeds FOLDER

#include <cstdio>
#include <fstream>
#include <string>

#include "tests/tls/certificate_maker.h"

namespace sluice::tls {
namespace {

// As the fuzzer reads them: each certificate with its length in two octets before it, the peer's
// own first, the trusted one last.
void Write(const std::string& folder, const std::string& name,
           const std::vector<const Made*>& certificates) {
  std::ofstream file(folder + "/" + name, std::ios::binary);
  for (const Made* made : certificates) {
    file.put(static_cast<char>(made->der.size() >> 8));
    file.put(static_cast<char>(made->der.size()));
    file.write(reinterpret_cast<const char*>(made->der.data()),
               static_cast<std::streamsize>(made->der.size()));
  }
}

Recipe Ca(const std::string& name, int slot) {
  return CaRecipe(name).Key("slot:" + std::to_string(slot));
}

Recipe Leaf() {
  return LeafRecipe("mx.example.net").Key("slot:0");
}

void WriteAll(const std::string& folder) {
  const Made root = Make(Ca("r", 2));
  const Made ca = Make(Ca("c", 1), &root);
  const Made leaf = Make(Leaf(), &ca);
  Write(folder, "plain", {&leaf, &ca, &root});

  const Made direct_root = Make(Ca("r", 1));
  const Made direct = Make(Leaf(), &direct_root);
  Write(folder, "direct", {&direct, &direct_root});
  const Made alone = Make(Leaf());
  Write(folder, "alone", {&alone});

  const Made constrained =
      Make(Ca("c", 1).With("nameConstraints",
                           "critical,permitted;DNS:example.net,excluded;DNS:a.mx.example.net,"
                           "permitted;IP:192.0.2.0/255.255.255.0"),
           &root);
  const Made inside =
      Make(Leaf().With("subjectAltName", "DNS:mx.example.net,DNS:*.b.example.net,IP:192.0.2.1"),
           &constrained);
  Write(folder, "constraints", {&inside, &constrained, &root});

  const Made for_servers =
      Make(Ca("c", 1).With("extendedKeyUsage", "serverAuth,clientAuth"), &root);
  const Made wildcard = Make(Leaf()
                                 .With("subjectAltName", "DNS:*.example.net")
                                 .With("extendedKeyUsage", "serverAuth,clientAuth"),
                             &for_servers);
  Write(folder, "usages", {&wildcard, &for_servers, &root});

  const std::string kPolicy = "DER:3007300506032a0304";
  const Made with_policy = Make(Ca("c", 1)
                                    .With("2.5.29.32", kPolicy)
                                    .With("policyConstraints", "critical,requireExplicitPolicy:0")
                                    .With("basicConstraints", "critical,CA:TRUE,pathlen:0"),
                                &root);
  const Made of_policy =
      Make(Leaf().With("2.5.29.32", kPolicy).With("1.2.3.4", "DER:0500"), &with_policy);
  Write(folder, "policies", {&of_policy, &with_policy, &root});

  const Made root4 = Make(Ca("r", 3));
  const Made upper = Make(Ca("c", 2), &root4);
  const Made renewed = Make(Ca("c", 1), &upper);  // Self-issued.
  const Made below = Make(Leaf(), &renewed);
  Write(folder, "self_issued", {&below, &renewed, &upper, &root4});

  // Refused.
  const Made clients = Make(Leaf().With("extendedKeyUsage", "clientAuth"), &direct_root);
  Write(folder, "clients", {&clients, &direct_root});
  const Made expired = Make(Leaf().Dates(kNowSeconds - 9 * kDay, kNowSeconds - kDay), &direct_root);
  Write(folder, "expired", {&expired, &direct_root});
}

}  // namespace
}  // namespace sluice::tls

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: certificate_seeds FOLDER\n");
    return 2;
  }
  sluice::tls::WriteAll(argv[1]);
  return 0;
}
