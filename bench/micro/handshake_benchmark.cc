// The processor time of a TLS 1.3 handshake, of each side by itself, beside the primitives that it
// can't do without. A client's Stream and a server's, in memory, in one thread; making and freeing
// them belongs to it.
//
// What each side does, at the least (RFC 8446 2, 4.2.8, 4.4.3):
//
//   client   makes a key of X25519, agrees; verifies the server's CertificateVerify (ECDSA of
//            P-256, or RSA-PSS of 2048 bits)
//   server   makes a key of X25519, agrees; signs its CertificateVerify
//   verdict  (Judge) two signatures: of the host's certificate and of the intermediate's
//   resumed  (with a ticket, psk_dhe_ke) a key and an agreement on each side; nothing is signed
//
// `handshake/` has no verdict, `judged/` has it, and `resumed/` needs none: a client there also
// takes the next session from the ticket that comes, as it does in delivery.
//
// Time is the thread's processor time of that side for one handshake. Counters: `primitives_us` is
// that of the primitives, measured in turn with the handshakes so that a drifting machine drifts
// for both, and `ratio` is time by primitives. `primitives/` has them one by one.
//
// wolfCrypt keeps a table for the points of P-256 that it met last, 15 of them. `ecdsa` meets one
// host again and again, so its key is among them; `ecdsa_many` goes round 64 hosts, as delivery
// does, and finds none.

#include <benchmark/benchmark.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/micro/mail_hosts.h"
#include "bench/micro/timed.h"
#include "bench/micro/wolfcrypt.h"
#include "engine/base/check.h"
#include "tls/stream.h"
#include "tls/verify.h"

namespace sluice::tls {
namespace {

enum class Side : uint8_t { kClient, kServer, kBoth };

struct Costs {
  Duration client{};
  Duration server{};

  Duration Of(Side side) const {
    return (side == Side::kServer ? Duration{} : client) +
           (side == Side::kClient ? Duration{} : server);
  }
};

std::string Flight(Stream& peer, const std::string& input, Step then) {
  peer.Feed(input);
  CHECK(peer.Handshake() == then);
  std::string output;
  peer.TakeOutput(output);
  return output;
}

// One handshake, each side's work added to its cost. What a client does when it is established, and
// what came with it, is the caller's.
template <typename MakeClient, typename MakeServer, typename Established>
void Shake(Costs& costs, MakeClient make_client, MakeServer make_server, Established established) {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
  std::string hello, answer, finished, rest;
  Timed(costs.client, [&] {
    client = make_client();
    hello = Flight(*client, "", Step::kNeedsInput);
  });
  Timed(costs.server, [&] {
    server = make_server();
    answer = Flight(*server, hello, Step::kNeedsInput);
  });
  Timed(costs.client, [&] { finished = Flight(*client, answer, Step::kEstablished); });
  Timed(costs.server, [&] { rest = Flight(*server, finished, Step::kEstablished); });
  Timed(costs.client, [&] {
    established(*client, rest);
    client.reset();
  });
  Timed(costs.server, [&] { server.reset(); });
}

// The same work without TLS.
struct Floor {
  KeyAgreement client;
  KeyAgreement server;
  std::vector<std::unique_ptr<BareSigningKey>> keys;  // One a host, as there.

  Floor(KeyKind kind, size_t hosts) {
    for (size_t i = 0; i < hosts; ++i) keys.push_back(std::make_unique<BareSigningKey>(kind));
  }

  void Agree(Costs& costs) {
    Timed(costs.client, [&] { Agree(client); });
    Timed(costs.server, [&] { Agree(server); });
  }
  static void Agree(KeyAgreement& side) {
    side.MakeKey();
    side.Agree();
  }

  void SignAndVerify(Costs& costs, size_t host) {
    Timed(costs.server, [&] { keys[host]->Sign(); });
    Timed(costs.client, [&] { keys[host]->Verify(); });
  }
};

// Adds what the side's work of one round costs. Rounds go round the hosts.
using Round = std::function<void(Costs&, size_t)>;

// wolfCrypt makes its table for a point when it meets it for the second time.
constexpr size_t kUnmeasuredRounds = 4;

// Runs both in turn and reports.
void Compare(benchmark::State& state, Side side, const Round& shake, const Round& primitives) {
  size_t round = 0;
  const auto cost_of = [&](const Round& work) {
    Costs costs;
    work(costs, round);
    return costs.Of(side);
  };
  for (; round < kUnmeasuredRounds; ++round) {
    cost_of(shake);
    cost_of(primitives);
  }
  Duration handshakes{};
  Duration floor{};
  for (auto _ : state) {
    const Duration handshake = cost_of(shake);
    handshakes += handshake;
    floor += cost_of(primitives);
    ++round;
    state.SetIterationTime(Seconds(handshake));
  }
  state.counters["primitives_us"] = 1e6 * Seconds(floor) / static_cast<double>(state.iterations());
  state.counters["ratio"] = Seconds(handshakes) / Seconds(floor);
}

KeyKind KindOf(const std::string& kind) {
  return kind == "p256" ? KeyKind::kEcdsaP256 : KeyKind::kRsa2048;
}

void Full(benchmark::State& state, Side side, const std::string& kind, size_t hosts_count,
          bool judged) {
  const std::shared_ptr<const Context> context = ClientContext();
  const MailHosts hosts(kind, hosts_count);
  Floor floor(KindOf(kind), hosts_count);
  const auto shake = [&](Costs& costs, size_t round) {
    const MailHost& host = hosts[round % hosts_count];
    Shake(
        costs, [&] { return Stream::Client(context, host.name, nullptr); },
        [&] { return Stream::Server(host.server); },
        [&](const Stream& client, const std::string&) {
          if (!judged) return;
          const References references{.domain = host.name};
          CHECK(Judge(client.facts().chain, references, *hosts.trust(), kNow).MeetsVerify());
        });
  };
  Compare(state, side, shake, [&](Costs& costs, size_t round) {
    floor.Agree(costs);
    floor.SignAndVerify(costs, round % hosts_count);
    if (judged) Timed(costs.client, [&] { hosts.CheckSignatures(); });
  });
}

void Resumed(benchmark::State& state, Side side) {
  const std::shared_ptr<const Context> context = ClientContext();
  const MailHosts hosts("p256", 1, /*tickets=*/true);
  Floor floor(KeyKind::kEcdsaP256, 1);
  std::unique_ptr<Session> session;
  const auto shake = [&](Costs& costs, size_t) {
    const bool resumed = session != nullptr;  // All but the first.
    Shake(
        costs, [&] { return Stream::Client(context, hosts[0].name, std::move(session)); },
        [&] { return Stream::Server(hosts[0].server); },
        [&](Stream& client, const std::string& ticket) {
          CHECK(client.facts().resumed == resumed);
          client.Feed(ticket);
          std::string nothing;
          CHECK(client.Open(nothing) == Stream::Opened::kNeedsInput);
          session = client.TakeSession();
          CHECK(session != nullptr);
        });
  };
  Compare(state, side, shake, [&](Costs& costs, size_t) { floor.Agree(costs); });
}

void AgreementAlone(benchmark::State& state, void (KeyAgreement::*work)()) {
  KeyAgreement agreement;
  for (auto _ : state) (agreement.*work)();
}

void SignatureAlone(benchmark::State& state, KeyKind kind, size_t keys_count,
                    void (BareSigningKey::*work)()) {
  const Floor floor(kind, keys_count);
  size_t round = 0;
  const auto one = [&] { (floor.keys[round++ % keys_count].get()->*work)(); };
  while (round < kUnmeasuredRounds) one();
  for (auto _ : state) one();
}

void ChainAlone(benchmark::State& state, const std::string& kind) {
  const MailHosts hosts(kind, 1);
  for (auto _ : state) hosts.CheckSignatures();
}

constexpr size_t kMany = 64;

void RegisterHandshakes() {
  const std::pair<const char*, Side> sides[] = {
      {"client", Side::kClient}, {"server", Side::kServer}, {"both", Side::kBoth}};
  struct Hosts {
    const char* name;
    const char* kind;
    size_t count;
  };
  const Hosts all[] = {{"ecdsa", "p256", 1}, {"ecdsa_many", "p256", kMany}, {"rsa", "rsa2048", 1}};
  const auto add = [](const std::string& name, auto run) {
    benchmark::RegisterBenchmark(name.c_str(), run)->UseManualTime()->Unit(benchmark::kMicrosecond);
  };
  for (const Hosts& hosts : all) {
    for (const auto& [name, side] : sides) {
      add(absl::StrCat("handshake/", hosts.name, "/", name),
          [hosts, side = side](auto& state) { Full(state, side, hosts.kind, hosts.count, false); });
    }
    add(absl::StrCat("judged/", hosts.name, "/client"),
        [hosts](auto& state) { Full(state, Side::kClient, hosts.kind, hosts.count, true); });
  }
  for (const auto& [name, side] : sides) {
    add(absl::StrCat("resumed/", name), [side = side](auto& state) { Resumed(state, side); });
  }
}

void RegisterPrimitives() {
  const auto add = [](const std::string& name, auto run) {
    benchmark::RegisterBenchmark(absl::StrCat("primitives/", name).c_str(), run)
        ->Unit(benchmark::kMicrosecond);
  };
  const auto add_signature = [&](const char* name, KeyKind kind, size_t keys) {
    add(absl::StrCat(name, "_sign"),
        [=](auto& state) { SignatureAlone(state, kind, keys, &BareSigningKey::Sign); });
    add(absl::StrCat(name, "_verify"),
        [=](auto& state) { SignatureAlone(state, kind, keys, &BareSigningKey::Verify); });
  };
  add("x25519_make_key", [](auto& state) { AgreementAlone(state, &KeyAgreement::MakeKey); });
  add("x25519_agree", [](auto& state) { AgreementAlone(state, &KeyAgreement::Agree); });
  add_signature("ecdsa", KeyKind::kEcdsaP256, 1);
  add_signature("ecdsa_many", KeyKind::kEcdsaP256, kMany);
  add_signature("rsa_pss", KeyKind::kRsa2048, 1);
  add("libcrypto_two_ecdsa_verify", [](auto& state) { ChainAlone(state, "p256"); });
  add("libcrypto_two_rsa_verify", [](auto& state) { ChainAlone(state, "rsa2048"); });
}

}  // namespace
}  // namespace sluice::tls

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  sluice::tls::RegisterHandshakes();
  sluice::tls::RegisterPrimitives();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
