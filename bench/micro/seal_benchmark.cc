// Bytes a second through Stream::Seal and Stream::Open under TLS 1.3, by cipher and by size of the
// piece, beside wolfCrypt's bare cipher on the same piece as one record. 16 KiB is the largest
// record and 10 KiB the message of the other benchmarks; both are one record.
//
// `seal/` takes the ciphertext out after each piece, and `open/` feeds one record at a time, as a
// shard does. What is opened is checked against what was sealed.
//
// Time is processor time for 64 pieces. `ratio`: of the stream's time to the bare cipher's,
// measured in turn. `bare/` has the bare ciphers by themselves.

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "bench/micro/mail_hosts.h"
#include "bench/micro/timed.h"
#include "bench/micro/wolfcrypt.h"
#include "engine/base/check.h"
#include "tests/tls/wolf_words.h"
#include "tls/stream.h"

namespace sluice::tls {
namespace {

constexpr size_t kPieces = 64;  // Measured at once: the clock costs as much as some 200 bytes.

// One record is longer than its plaintext by header, type and tag (RFC 8446 5.2).
constexpr size_t kRecordBytesMore = 5 + 1 + 16;

struct Case {
  const char* name;
  CipherKind cipher;
  const char* suite;  // wolfSSL's name.
};
constexpr Case kCases[] = {
    {"chacha20_poly1305", CipherKind::kChaCha20Poly1305, "TLS13-CHACHA20-POLY1305-SHA256"},
    {"aes_128_gcm", CipherKind::kAes128Gcm, "TLS13-AES128-GCM-SHA256"},
    {"aes_256_gcm", CipherKind::kAes256Gcm, "TLS13-AES256-GCM-SHA384"},
};

std::string Taken(Stream& stream) {
  std::string output;
  stream.TakeOutput(output);
  return output;
}

// Two ends of an established session, which has the suite that was asked for.
struct Ends {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;

  explicit Ends(const Case& of) {
    const MailHosts hosts("p256", 1);
    UseOnly(*hosts[0].server, of.suite);
    client = Stream::Client(ClientContext(), hosts[0].name, nullptr);
    server = Stream::Server(hosts[0].server);
    CHECK(client->Handshake() == Step::kNeedsInput);
    server->Feed(Taken(*client));
    CHECK(server->Handshake() == Step::kNeedsInput);
    client->Feed(Taken(*server));
    CHECK(client->Handshake() == Step::kEstablished);
    server->Feed(Taken(*client));
    CHECK(server->Handshake() == Step::kEstablished);
    CHECK(client->facts().cipher == OfferedSuite(of.suite));
  }
};

void Report(benchmark::State& state, size_t piece_bytes, Duration streams, Duration bare) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPieces * piece_bytes));
  state.counters["ratio"] = Seconds(streams) / Seconds(bare);
}

void Seal(benchmark::State& state, const Case& of, size_t piece_bytes) {
  Ends ends(of);
  RecordCipher cipher(of.cipher);
  const std::string piece(piece_bytes, 'x');
  std::string sealed;
  Duration streams{};
  Duration bare{};
  for (auto _ : state) {
    Duration batch{};
    Timed(batch, [&] {
      for (size_t i = 0; i < kPieces; ++i) {
        sealed.clear();
        CHECK(ends.client->Seal(piece));
        ends.client->TakeOutput(sealed);
      }
    });
    CHECK(sealed.size() == piece_bytes + kRecordBytesMore);
    Timed(bare, [&] {
      for (size_t i = 0; i < kPieces; ++i) cipher.Seal(piece);
    });
    streams += batch;
    state.SetIterationTime(Seconds(batch));
  }
  Report(state, piece_bytes, streams, bare);
}

void Open(benchmark::State& state, const Case& of, size_t piece_bytes) {
  Ends ends(of);
  RecordCipher cipher(of.cipher);
  const std::string piece(piece_bytes, 'x');
  cipher.Seal(piece);
  std::vector<std::string> records(kPieces);
  std::string opened;
  Duration streams{};
  Duration bare{};
  for (auto _ : state) {
    for (std::string& record : records) {
      CHECK(ends.client->Seal(piece));
      record = Taken(*ends.client);
    }
    Duration batch{};
    Timed(batch, [&] {
      for (const std::string& record : records) {
        opened.clear();
        ends.server->Feed(record);
        CHECK(ends.server->Open(opened) == Stream::Opened::kNeedsInput);
      }
    });
    CHECK(opened == piece);
    Timed(bare, [&] {
      for (size_t i = 0; i < kPieces; ++i) cipher.Open();
    });
    streams += batch;
    state.SetIterationTime(Seconds(batch));
  }
  Report(state, piece_bytes, streams, bare);
}

void BareSeal(benchmark::State& state, const Case& of, size_t piece_bytes) {
  RecordCipher cipher(of.cipher);
  const std::string piece(piece_bytes, 'x');
  for (auto _ : state) cipher.Seal(piece);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * piece_bytes));
}

void BareOpen(benchmark::State& state, const Case& of, size_t piece_bytes) {
  RecordCipher cipher(of.cipher);
  cipher.Seal(std::string(piece_bytes, 'x'));
  for (auto _ : state) cipher.Open();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * piece_bytes));
}

void Register() {
  using Run = void (*)(benchmark::State&, const Case&, size_t);
  const auto add = [](absl::string_view what, const Case& of, size_t bytes, Run run) {
    return benchmark::RegisterBenchmark(absl::StrCat(what, "/", of.name, "/", bytes).c_str(),
                                        [=](auto& state) { run(state, of, bytes); });
  };
  for (const Case& of : kCases) {
    for (const size_t bytes : {size_t{16} << 10, size_t{10} << 10}) {
      add("seal", of, bytes, Seal)->UseManualTime()->Unit(benchmark::kMicrosecond);
      add("open", of, bytes, Open)->UseManualTime()->Unit(benchmark::kMicrosecond);
      add("bare/seal", of, bytes, BareSeal)->Unit(benchmark::kMicrosecond);
      add("bare/open", of, bytes, BareOpen)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace sluice::tls

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  sluice::tls::Register();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
