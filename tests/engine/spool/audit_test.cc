// What an audit tells of a spool on a disk in memory: nothing of a sound one, and of each byte that
// is changed in it where it is and what it means for mail. What is expected comes from what was put
// into the log, and from where it was put.

#include "engine/spool/audit.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <filesystem>
#include <fstream>

#include "engine/spool/codec.h"
#include "engine/spool/posix_disk.h"
#include "engine/spool/readable_disk.h"
#include "engine/spool/stored_body.h"
#include "engine/spool/trace.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr uint64_t kSegmentBytes = 8192;
constexpr size_t kBodyBytes = 1200;
constexpr Log::Options kSmall = {.number = 0,
                                 .segment_bytes = kSegmentBytes,
                                 .outcome_reserve_bytes = 1024,
                                 .free_segments_kept = 2};

struct Laid {
  uint64_t id = 0;
  std::vector<Extent> body;
  Extent promise;
};

// Appends a message as an engine does: the promise says where the body lies, and its checksum.
Laid Lay(LogOnDisk& log, uint64_t id, std::string& body) {
  Laid laid = {.id = id};
  body = BodyOf(id, kBodyBytes);
  const Bytes parts[] = {AsBytes(body)};
  laid.body.push_back(log->AppendBody({id}, 0, parts, At(1)));
  AcceptedRecord accepted = Accepted(id, kBodyBytes);
  accepted.body = laid.body;
  accepted.body_checksum = XXH3_64bits(body.data(), body.size());
  laid.promise = log->AppendAccepted(accepted, At(1));
  log->Lives(laid.body.front().segment, kBodyBytes);
  log.Commit();
  return laid;
}

// Twelve messages of 1,200 bytes in segments of 8 KiB: several full ones, which have an index.
struct TwelveMessages {
  TwelveMessages() : log(disk, kSmall) {
    log.Commit();
    for (uint64_t id = 1; id <= 12; ++id) laid.push_back(Lay(log, id, bodies[id - 1]));
  }
  const Laid& InFirst() const { return laid[1]; }  // Its segment is full, others follow.

  void Damage(const Extent& place, uint32_t at = 0) {
    disk.BytesOf(place.segment)[place.offset + at] ^= std::byte{0x40};
  }
  // The disk as another process would open it.
  MemoryDisk Opened() const {
    MemoryDisk copy = disk;
    copy.Kill();
    return copy;
  }
  SpoolAudit Audit() const {
    MemoryDisk opened = Opened();
    const absl::StatusOr<SpoolAudit> audit = AuditSpool(opened);
    EXPECT_TRUE(audit.ok()) << audit.status();
    return *audit;
  }
  // The only log's faults of a kind.
  static std::vector<Fault> Of(const SpoolAudit& audit, FaultKind kind) {
    std::vector<Fault> faults = audit.logs.front().faults;
    std::erase_if(faults, [kind](const Fault& fault) { return fault.kind != kind; });
    return faults;
  }

  MemoryDisk disk;
  LogOnDisk log;
  std::string bodies[12];
  std::vector<Laid> laid;
};

TEST(Audit, SoundSpoolHasNoFaults) {
  TwelveMessages spool;
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 0u);
  ASSERT_EQ(audit.logs.size(), 1u);
  const LogAudit& log = audit.logs.front();
  EXPECT_EQ(log.waiting, 12u);
  EXPECT_EQ(log.incomplete, 0u);
  EXPECT_GE(log.indexed, 2u);
  EXPECT_EQ(log.bytes, log.segments * kSegmentBytes);
  EXPECT_FALSE(log.cut_off);
}

TEST(Audit, DoneMessagesDoNotWait) {
  TwelveMessages spool;
  spool.log.Finish(2, spool.InFirst().body.front().segment, kBodyBytes);
  spool.log.Commit();
  EXPECT_EQ(spool.Audit().logs.front().waiting, 11u);
  EXPECT_EQ(spool.Audit().faults, 0u);
}

TEST(Audit, WindowsAndOutcomesAgreeWithTheIndex) {
  TwelveMessages spool;
  WindowRecord window;
  window.period = std::chrono::minutes(1);
  for (uint64_t number = 1; number <= 40; ++number) {
    window.key.destination = "d" + std::to_string(number % 7) + ".example";
    window.number = number;
    window.at = At(1);
    const SegmentId segment = spool.log->AppendWindow(window, At(1));
    spool.log->Lives(segment, WindowRecordBytes(window));
    spool.log->AppendDeferred(
        {.id = {3}, .attempts = 1, .next_attempt = At(9), .last_reply = "450 x", .recipients = {0}},
        At(2));
    spool.log.Commit();
  }
  std::string body;
  for (uint64_t id = 13; id <= 24; ++id) Lay(spool.log, id, body);
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 0u);
  EXPECT_EQ(audit.logs.front().waiting, 24u);
}

TEST(Audit, DamagedBodyIsToldWithItsRecordAndItsMessage) {
  TwelveMessages spool;
  const Extent piece = spool.InFirst().body.front();
  spool.Damage(piece, 700);
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 2u);
  const std::vector<Fault> records = TwelveMessages::Of(audit, FaultKind::kRecords);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].place.segment, piece.segment);
  EXPECT_EQ(records[0].place.offset, piece.offset - kBodyPrefixBytes);
  EXPECT_EQ(records[0].place.bytes, kBodyPrefixBytes + kBodyBytes);  // A multiple of 8.
  const std::vector<Fault> bodies = TwelveMessages::Of(audit, FaultKind::kBody);
  ASSERT_EQ(bodies.size(), 1u);
  EXPECT_EQ(bodies[0].message, MessageId{2});
  EXPECT_EQ(bodies[0].place, piece);
  EXPECT_EQ(audit.logs.front().waiting, 12u);
}

TEST(Audit, DamagedPromiseNamesTheMessageThatIsLost) {
  TwelveMessages spool;
  spool.Damage(spool.InFirst().promise, 40);
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 2u);
  const std::vector<Fault> records = TwelveMessages::Of(audit, FaultKind::kRecords);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].place, spool.InFirst().promise);
  const std::vector<Fault> promises = TwelveMessages::Of(audit, FaultKind::kPromise);
  ASSERT_EQ(promises.size(), 1u);
  EXPECT_EQ(promises[0].message, MessageId{2});
  EXPECT_EQ(audit.logs.front().waiting, 11u);
  EXPECT_EQ(audit.logs.front().incomplete, 1u);
}

TEST(Audit, DamagedPromiseOfAMessageThatIsDoneLosesNothing) {
  TwelveMessages spool;
  spool.log.Finish(2, spool.InFirst().body.front().segment, kBodyBytes);
  spool.log.Commit();
  spool.Damage(spool.InFirst().promise, 40);
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(TwelveMessages::Of(audit, FaultKind::kRecords).size(), 1u);
  EXPECT_EQ(audit.faults, 1u);
}

// Where the index begins is known from the records: behind the last of them and a batch record.
TEST(Audit, DamagedIndexIsToldAsThat) {
  TwelveMessages spool;
  const SegmentId first = spool.InFirst().promise.segment;
  const Extent* last = nullptr;
  for (const Laid& each : spool.laid) {
    if (each.promise.segment == first) last = &each.promise;
  }
  ASSERT_NE(last, nullptr);
  const uint32_t index_at = last->offset + last->bytes + kBatchRecordBytes;
  spool.disk.BytesOf(first)[index_at + kRecordHeaderBytes + 4] ^= std::byte{1};
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 1u);
  const std::vector<Fault> indexes = TwelveMessages::Of(audit, FaultKind::kIndex);
  ASSERT_EQ(indexes.size(), 1u);
  EXPECT_EQ(indexes[0].place.offset, index_at);
  EXPECT_EQ(audit.logs.front().waiting, 12u);
}

// Its checksum holds, and it says something else than the records do.
TEST(Audit, IndexThatDoesNotAgreeWithTheRecordsIsTold) {
  TwelveMessages spool;
  const SegmentId first = spool.InFirst().promise.segment;
  std::vector<std::byte>& bytes = spool.disk.BytesOf(first);
  const Extent* last = nullptr;
  for (const Laid& each : spool.laid) {
    if (each.promise.segment == first) last = &each.promise;
  }
  const size_t ends_at = last->offset + last->bytes + kBatchRecordBytes;
  const std::optional<RecordView> ends = DecodeRecord(first, Bytes(bytes).subspan(ends_at));
  ASSERT_TRUE(ends);
  const size_t begins_at = ends_at + ends->whole_bytes;
  const std::optional<RecordView> begins = DecodeRecord(first, Bytes(bytes).subspan(begins_at));
  ASSERT_TRUE(begins && begins->type == RecordType::kIndex);
  std::vector<std::byte> payload(begins->payload.begin(), begins->payload.end());
  payload[1] ^= std::byte{1};  // Another message's id.
  std::vector<std::byte> forged;
  Encoder encoder(first, RecordType::kIndex, forged);
  encoder.Raw(payload);
  encoder.Finish();
  ASSERT_EQ(forged.size(), begins->whole_bytes);
  std::copy(forged.begin(), forged.end(), bytes.begin() + static_cast<ptrdiff_t>(begins_at));
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 1u);
  const std::vector<Fault> indexes = TwelveMessages::Of(audit, FaultKind::kIndex);
  ASSERT_EQ(indexes.size(), 1u);
  EXPECT_EQ(indexes[0].place.offset, begins_at);
}

TEST(Audit, UnknownVersionIsToldAndTheOthersAreRead) {
  TwelveMessages spool;
  const SegmentId first = spool.InFirst().promise.segment;
  spool.disk.BytesOf(first)[kRecordHeaderBytes + 8] = std::byte{99};
  const SpoolAudit audit = spool.Audit();
  const std::vector<Fault> versions = TwelveMessages::Of(audit, FaultKind::kVersion);
  ASSERT_EQ(versions.size(), 1u);
  EXPECT_EQ(versions[0].version, 99u);
  EXPECT_EQ(versions[0].place.segment, first);
  EXPECT_LT(audit.logs.front().waiting, 12u);
  EXPECT_GT(audit.logs.front().waiting, 0u);
}

TEST(Audit, DamagedFirstRecordIsTold) {
  TwelveMessages spool;
  const SegmentId first = spool.InFirst().promise.segment;
  spool.disk.BytesOf(first)[0] ^= std::byte{1};
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 1u);
  const std::vector<Fault> records = TwelveMessages::Of(audit, FaultKind::kRecords);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].place, (Extent{first, 0, kSegmentRecordBytes}));
  EXPECT_EQ(audit.logs.front().waiting, 12u);
}

// The last batch, cut in its middle: nothing in it had been promised.
TEST(Audit, WriteThatWasCutOffIsNoFault) {
  TwelveMessages spool;
  const Extent last = spool.laid.back().promise;
  spool.Damage(last, 40);
  const SpoolAudit audit = spool.Audit();
  EXPECT_EQ(audit.faults, 0u);
  ASSERT_TRUE(audit.logs.front().cut_off);
  EXPECT_EQ(*audit.logs.front().cut_off, last);
  EXPECT_EQ(audit.logs.front().incomplete, 1u);
}

// A disk whose segments have been given back since they were opened.
class LeavingDisk : public MemoryDisk {
 public:
  bool StillHolds(const OpenSegment&) const override { return false; }
};

TEST(Audit, SegmentThatWasGivenBackMeanwhileIsNotJudged) {
  LeavingDisk disk;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  std::string bodies[12];
  std::vector<Laid> laid;
  for (uint64_t id = 1; id <= 12; ++id) laid.push_back(Lay(log, id, bodies[id - 1]));
  disk.BytesOf(laid[1].promise.segment)[laid[1].body[0].offset] ^= std::byte{1};
  disk.Kill();
  const absl::StatusOr<SpoolAudit> audit = AuditSpool(disk);
  ASSERT_TRUE(audit.ok());
  EXPECT_EQ(audit->faults, 0u);
  EXPECT_EQ(audit->given_back, 1u);
}

// -------------------------------------------------------------------------------------------------
// One message.

TEST(Trace, TellsWhatBecameOfAMessageAndWhereItLies) {
  TwelveMessages spool;
  spool.log->AppendDeferred(
      {.id = {2}, .attempts = 3, .next_attempt = At(61), .last_reply = "450 x", .recipients = {0}},
      At(2));
  spool.log.Commit();
  MemoryDisk opened = spool.Opened();
  absl::StatusOr<ReadableDisk> disk = ReadableDisk::Of(opened);
  ASSERT_TRUE(disk.ok());
  const absl::StatusOr<MessageTrace> trace = TraceMessage(*disk, {2});
  ASSERT_TRUE(trace.ok());
  ASSERT_EQ(trace->records.size(), 3u);
  EXPECT_EQ(trace->records[0].type, RecordType::kBody);
  EXPECT_EQ(trace->records[1].place, spool.InFirst().promise);
  EXPECT_EQ(trace->records[2].type, RecordType::kDeferred);
  ASSERT_TRUE(trace->accepted);
  EXPECT_EQ(trace->accepted->recipients[0].attempts, 3);
  EXPECT_EQ(trace->accepted->recipients[0].next_attempt, At(61));
  EXPECT_EQ(trace->accepted->recipients[0].last_reply, "450 x");
  EXPECT_FALSE(trace->done);
  std::string body;
  const auto wrong = ReadBody(*disk, trace->segments, *trace->accepted,
                              [&](Bytes bytes) { body += AsText(bytes); });
  ASSERT_TRUE(wrong.ok());
  EXPECT_FALSE(*wrong);
  EXPECT_EQ(body, spool.bodies[1]);
}

TEST(Trace, UnknownMessageHasNoRecords) {
  TwelveMessages spool;
  MemoryDisk opened = spool.Opened();
  absl::StatusOr<ReadableDisk> disk = ReadableDisk::Of(opened);
  ASSERT_TRUE(disk.ok());
  EXPECT_TRUE(TraceMessage(*disk, {77})->records.empty());
}

// -------------------------------------------------------------------------------------------------
// The real disk, read while another holds it.

class LookedAtSpool : public testing::Test {
 protected:
  ~LookedAtSpool() override { std::filesystem::remove_all(path_); }
  const std::string path_ = testing::TempDir() + "/looked-at-" + std::to_string(getpid());
};

TEST_F(LookedAtSpool, IsReadWhileAnEngineHoldsIt) {
  const auto engine = PosixDisk::Open(path_);
  ASSERT_TRUE(engine.ok());
  const auto made = (*engine)->Create(SegmentId::Of(3, 7), 4096);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(PosixDisk::HolderOf(path_), getpid());
  const auto looker = PosixDisk::OpenToRead(path_);
  ASSERT_TRUE(looker.ok()) << looker.status();
  const auto seen = (*looker)->OpenAll();
  ASSERT_TRUE(seen.ok());
  ASSERT_EQ(seen->size(), 1u);
  EXPECT_EQ(seen->front().id, SegmentId::Of(3, 7));
  EXPECT_TRUE((*looker)->StillHolds(seen->front()));
  ASSERT_TRUE((*engine)->Recycle(*made, SegmentId::Of(3, 8)).ok());
  EXPECT_FALSE((*looker)->StillHolds(seen->front()));
  EXPECT_EQ(PosixDisk::NameOf(SegmentId::Of(3, 7)), "shard-003/0000000000000007.log");
}

TEST_F(LookedAtSpool, NobodyHoldsItWhenTheEngineHasGone) {
  ASSERT_TRUE(PosixDisk::Open(path_).ok());  // And closed at once.
  EXPECT_EQ(PosixDisk::HolderOf(path_), std::nullopt);
}

TEST_F(LookedAtSpool, IsNotMade) {
  EXPECT_FALSE(PosixDisk::OpenToRead(path_).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace sluice::spool
