// What reading replies costs: the reply after the dot, which every message has, and an EHLO reply
// of twelve lines, which every connection has; then a whole pipelined transaction of a client's
// session.

#include <array>
#include <chrono>

#include "absl/strings/string_view.h"
#include "bench/micro/allocations.h"
#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"
#include "engine/smtp/extensions.h"
#include "engine/smtp/reply.h"

namespace sluice::smtp {
namespace {

constexpr absl::string_view kQueued = "250 2.0.0 Ok: queued as 4Xb1zr5kxyz\r\n";
constexpr absl::string_view kEhlo =
    "250-mx.destination.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-VRFY\r\n250-ETRN\r\n"
    "250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"
    "250-LIMITS MAILMAX=100\r\n250 CHUNKING\r\n";

void Take(ReplyParser& parser, absl::string_view input) {
  CHECK(parser.Take(input) == ReplyParser::Status::kReply);
  CHECK(input.empty());
}

void BM_QueuedReply(benchmark::State& state) {
  ReplyParser parser;
  const Allocations allocations;
  for (auto _ : state) {
    Take(parser, kQueued);
    benchmark::DoNotOptimize(parser.reply());
  }
  allocations.Tell(state);
}
BENCHMARK(BM_QueuedReply);

void BM_QueuedReplyInTwoPieces(benchmark::State& state) {
  ReplyParser parser;
  const Allocations allocations;
  for (auto _ : state) {
    absl::string_view first = kQueued.substr(0, 20);
    CHECK(parser.Take(first) == ReplyParser::Status::kNeedMore);
    Take(parser, kQueued.substr(20));
    benchmark::DoNotOptimize(parser.reply());
  }
  allocations.Tell(state);
}
BENCHMARK(BM_QueuedReplyInTwoPieces);

void BM_EhloReply(benchmark::State& state) {
  ReplyParser parser;
  const Allocations allocations;
  for (auto _ : state) {
    Take(parser, kEhlo);
    benchmark::DoNotOptimize(parser.reply());
  }
  allocations.Tell(state);
}
BENCHMARK(BM_EhloReply);

void BM_EhloReplyAndExtensions(benchmark::State& state) {
  ReplyParser parser;
  const Allocations allocations;
  for (auto _ : state) {
    Take(parser, kEhlo);
    benchmark::DoNotOptimize(ParseExtensions(parser.reply()));
  }
  allocations.Tell(state);
}
BENCHMARK(BM_EhloReplyAndExtensions);

constexpr Now kNow = {Instant(std::chrono::hours(1)), WallTime()};

void Drain(ClientSession& session) {
  while (session.Next() != ClientAction::kNone) session.ClearOutput();
}

void Hear(ClientSession& session, absl::string_view bytes) {
  session.OnBytes(bytes, kNow);
  Drain(session);
}

// One recipient; the server answers the group in one piece.
void BM_ClientTransaction(benchmark::State& state) {
  const EnvelopeRecipient recipient = {.address = "someone@destination.example"};
  const std::array<const EnvelopeRecipient*, 1> recipients = {&recipient};
  const Transaction transaction = {
      .sender = "bounces@sender.example", .recipients = recipients, .body_bytes = 10240};
  ClientSession session;
  session.Begin({.ehlo_name = "client.example"}, kNow);
  Hear(session, "220 mx\r\n");
  Hear(session, "250-mx\r\n250-PIPELINING\r\n250 SIZE 52428800\r\n");
  const Allocations allocations;
  for (auto _ : state) {
    session.Offer(transaction, kNow);
    Drain(session);
    Hear(session, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
    session.OnBodyEnding(kNow);
    Drain(session);
    Hear(session, kQueued);
  }
  allocations.Tell(state);
  CHECK(session.state() == ClientState::kIdle);
}
BENCHMARK(BM_ClientTransaction);

}  // namespace
}  // namespace sluice::smtp

BENCHMARK_MAIN();
