// What the spool costs a message: encoding a 10 KB message's body and promise into a batch of the
// log, with the steps asked for and done at no cost (the disk is not measured here); and decoding
// and checking it.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "bench/micro/allocations.h"
#include "engine/base/check.h"
#include "engine/spool/log.h"
#include "tests/engine/spool/blank_disk.h"

namespace sluice::spool {
namespace {

constexpr size_t kBodyBytes = 10 << 10;

AcceptedRecord Promise(uint64_t id) {
  AcceptedRecord record;
  record.id = {id};
  record.sender = "bounces+12345@news.example.org";
  record.message_bytes = kBodyBytes - 3;
  record.wire_bytes = kBodyBytes;
  record.recipients.resize(1);
  record.recipients[0].address = "somebody@example.com";
  record.recipients[0].destination = "example.com";
  return record;
}

void PerformAll(Log& log) {
  for (Step step = log.NextStep(); step.kind != StepKind::kNone; step = log.NextStep()) {
    size_t bytes = 0;
    for (const Bytes part : step.parts) bytes += part.size();
    log.OnDone(static_cast<int32_t>(bytes));
  }
}

// A message's whole life in the log; `batch` messages to a group commit. Bodies are many, so that
// the checksum reads memory as it does in use: 32 MiB of them.
void BM_AppendMessage(benchmark::State& state) {
  const auto batch = static_cast<uint64_t>(state.range(0));
  std::vector<std::string> bodies(3200, std::string(kBodyBytes, 'x'));
  BlankDisk disk;
  Log log({}, disk, {}, 1);
  CHECK(log.Begin(WallTime{}).ok());
  AcceptedRecord promise = Promise(1);
  std::vector<SegmentId> first_segments(batch);
  uint64_t id = 0;
  const Allocations allocations;
  for (auto _ : state) {
    const std::string& body = bodies[++id % bodies.size()];
    const Bytes parts[] = {{reinterpret_cast<const std::byte*>(body.data()), body.size()}};
    CHECK(log.MayAccept(body.size(), WallTime{}));
    promise.id = {id};
    const Extent extent = log.AppendBody({id}, 0, parts, WallTime{});
    promise.body.assign(1, extent);
    log.AppendAccepted(promise, WallTime{});
    log.Lives(extent.segment, body.size());
    first_segments[id % batch] = extent.segment;
    if (id % batch != 0) continue;
    for (const SegmentId segment : first_segments) log.Died(segment, kBodyBytes);
    PerformAll(log);
    log.Reclaim();
  }
  allocations.Tell(state);
  for (uint64_t left = 0; left < id % batch; ++left) log.Died(first_segments[left + 1], kBodyBytes);
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBodyBytes));
}
BENCHMARK(BM_AppendMessage)->Arg(1)->Arg(32);

// The short records that follow: delivered, and done.
void BM_AppendOutcomeAndDone(benchmark::State& state) {
  BlankDisk disk;
  Log log({}, disk, {}, 1);
  CHECK(log.Begin(WallTime{}).ok());
  const OutcomeRecord outcome = {.id = {1}, .state = RecipientState::kDelivered, .recipients = {0}};
  uint64_t count = 0;
  const Allocations allocations;
  for (auto _ : state) {
    log.AppendOutcome(outcome, WallTime{});
    log.AppendDone({1}, WallTime{});
    if (++count % 32 != 0) continue;
    PerformAll(log);
    log.Reclaim();
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_AppendOutcomeAndDone);

// What recovery does for each message: check both records, decode them.
void BM_DecodeMessage(benchmark::State& state) {
  const SegmentId segment = SegmentId::Of(0, 1);
  const std::string body(kBodyBytes, 'x');
  std::vector<std::byte> bytes;
  const Bytes parts[] = {{reinterpret_cast<const std::byte*>(body.data()), body.size()}};
  EncodeBodyPrefix(segment, {1}, 0, parts, bytes);
  bytes.insert(bytes.end(), parts[0].begin(), parts[0].end());
  AcceptedRecord promise = Promise(1);
  promise.body = {{.segment = segment, .offset = kBodyPrefixBytes, .bytes = kBodyBytes}};
  EncodeAccepted(segment, promise, bytes);
  const Allocations allocations;
  for (auto _ : state) {
    const std::optional<RecordView> first = DecodeRecord(segment, bytes);
    CHECK(first.has_value());
    benchmark::DoNotOptimize(DecodeBody(first->payload));
    const std::optional<RecordView> second =
        DecodeRecord(segment, Bytes(bytes).subspan(first->whole_bytes));
    CHECK(second.has_value());
    benchmark::DoNotOptimize(DecodeAccepted(second->payload));
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(BM_DecodeMessage);

}  // namespace
}  // namespace sluice::spool

BENCHMARK_MAIN();
