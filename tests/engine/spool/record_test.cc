// The records' bytes: what is encoded is decoded again; FORMAT.md's example is reproduced byte for
// byte; every changed byte and every cut is refused, and so is every bound when it is passed by
// one.

#include "engine/spool/record.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "engine/spool/index.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr SegmentId kSegment = {uint64_t{3} << 48 | 77};

AcceptedRecord FullRecord() {
  AcceptedRecord record = Accepted(0x0102030405060708, 5000, 2);
  record.body_type = 1;
  record.ret = 2;
  record.envelope_id = "QQ314159";
  record.eight_bit = true;
  record.bounce = true;
  record.message_bytes = 4990;
  record.body_checksum = 0xfedcba9876543210;
  record.recipients[1].original_recipient = "rfc822;Bob@example.com";
  record.recipients[1].notify = 5;
  record.recipients[1].state = RecipientState::kBounced;
  record.recipients[1].attempts = 65535;
  record.recipients[1].next_attempt = At(3600);
  record.recipients[1].last_reply = std::string("450 4.2.1 busy\0!", 16);
  return record;
}

std::vector<std::byte> Encoded(const AcceptedRecord& record) {
  std::vector<std::byte> out;
  EncodeAccepted(kSegment, record, out);
  return out;
}

std::vector<std::byte> EncodedBody(absl::string_view body, size_t split) {
  std::vector<std::byte> out;
  const Bytes parts[] = {AsBytes(body.substr(0, split)), AsBytes(body.substr(split))};
  EncodeBodyPrefix(kSegment, {42}, 7, parts, out);
  for (const Bytes part : parts) out.insert(out.end(), part.begin(), part.end());
  out.resize(out.size() + PaddingFor(body.size()));
  return out;
}

TEST(Record, PaddingFillsEight) {
  const size_t expected[] = {0, 7, 6, 5, 4, 3, 2, 1, 0, 7};
  for (size_t bytes = 0; bytes < 10; ++bytes) EXPECT_EQ(PaddingFor(bytes), expected[bytes]);
}

TEST(Record, AcceptedComesBackWhole) {
  const AcceptedRecord record = FullRecord();
  const std::vector<std::byte> bytes = Encoded(record);
  EXPECT_EQ(bytes.size() % 8, 0u);
  const std::optional<RecordView> view = DecodeRecord(kSegment, bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type, RecordType::kAccepted);
  EXPECT_EQ(view->whole_bytes, bytes.size());
  const std::optional<AcceptedRecord> back = DecodeAccepted(view->payload);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id, record.id);
  EXPECT_EQ(back->accepted_at, record.accepted_at);
  EXPECT_EQ(back->sender, "s@example.org");
  EXPECT_EQ(back->body_type, 1);
  EXPECT_EQ(back->ret, 2);
  EXPECT_EQ(back->envelope_id, "QQ314159");
  EXPECT_TRUE(back->eight_bit);
  EXPECT_TRUE(back->bounce);
  EXPECT_EQ(back->message_bytes, 4990u);
  EXPECT_EQ(back->wire_bytes, 5000u);
  EXPECT_EQ(back->body_checksum, 0xfedcba9876543210u);
  ASSERT_EQ(back->recipients.size(), 2u);
  EXPECT_EQ(back->recipients[0].address, "r0@example.com");
  EXPECT_EQ(back->recipients[0].destination, "example.com");
  EXPECT_EQ(back->recipients[0].state, RecipientState::kWaiting);
  EXPECT_EQ(back->recipients[1].original_recipient, "rfc822;Bob@example.com");
  EXPECT_EQ(back->recipients[1].notify, 5);
  EXPECT_EQ(back->recipients[1].state, RecipientState::kBounced);
  EXPECT_EQ(back->recipients[1].attempts, 65535);
  EXPECT_EQ(back->recipients[1].next_attempt, At(3600));
  EXPECT_EQ(back->recipients[1].last_reply, record.recipients[1].last_reply);
}

TEST(Record, OutcomeDeferredAndDoneComeBack) {
  std::vector<std::byte> bytes;
  EncodeOutcome(kSegment, {.id = {9}, .state = RecipientState::kBounced, .recipients = {0, 999}},
                bytes);
  const size_t outcome_bytes = bytes.size();
  EncodeDeferred(kSegment,
                 {.id = {9},
                  .attempts = 3,
                  .next_attempt = At(60),
                  .last_reply = "421",
                  .peer_name = "mx.example.com",
                  .command = "MAIL FROM:<s@example.org>",
                  .recipients = {4}},
                 bytes);
  const size_t deferred_bytes = bytes.size() - outcome_bytes;
  EncodeDone(kSegment, {9}, bytes);

  const Bytes all = bytes;
  const auto outcome = DecodeOutcome(DecodeRecord(kSegment, all)->payload);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->id.value, 9u);
  EXPECT_EQ(outcome->state, RecipientState::kBounced);
  EXPECT_EQ(outcome->recipients, (std::vector<uint32_t>{0, 999}));
  const auto deferred = DecodeDeferred(DecodeRecord(kSegment, all.subspan(outcome_bytes))->payload);
  ASSERT_TRUE(deferred);
  EXPECT_EQ(deferred->attempts, 3);
  EXPECT_EQ(deferred->next_attempt, At(60));
  EXPECT_EQ(deferred->last_reply, "421");
  EXPECT_EQ(deferred->peer_name, "mx.example.com");
  EXPECT_EQ(deferred->command, "MAIL FROM:<s@example.org>");
  EXPECT_EQ(deferred->recipients, (std::vector<uint32_t>{4}));
  const auto done = DecodeRecord(kSegment, all.subspan(outcome_bytes + deferred_bytes));
  EXPECT_EQ(DecodeDone(done->payload), MessageId{9});
}

TEST(Record, BatchComesBack) {
  std::vector<std::byte> bytes;
  EncodeBatch(kSegment, 7, bytes);
  EXPECT_EQ(bytes.size(), kBatchRecordBytes);
  const std::optional<RecordView> view = DecodeRecord(kSegment, bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type, RecordType::kBatch);
  EXPECT_EQ(DecodeBatch(view->payload), 7u);
  EXPECT_EQ(DecodeBatch(Bytes(view->payload).first(7)), std::nullopt);
}

WindowRecord FullWindow() {
  return {.key = {.destination = "example.com",
                  .part = WindowPart::kScope,
                  .each_address = true,
                  .each_source = true,
                  .address = *IpAddress::Parse("2001:db8::25"),
                  .source = "vg1"},
          .number = 0x0102030405060708,
          .at = At(100),
          .period = std::chrono::minutes(60),
          .reserved = 4000000000,
          .seen = {{.by = At(-7), .recipients = 1}, {.by = At(99), .recipients = 4294967295}}};
}

std::vector<std::byte> Encoded(const WindowRecord& record) {
  std::vector<std::byte> out;
  EncodeWindow(kSegment, record, out);
  return out;
}

TEST(Record, WindowComesBackWhole) {
  const WindowRecord record = FullWindow();
  const std::vector<std::byte> bytes = Encoded(record);
  EXPECT_EQ(bytes.size(), WindowRecordBytes(record));
  const std::optional<RecordView> view = DecodeRecord(kSegment, bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type, RecordType::kWindow);
  EXPECT_EQ(view->whole_bytes, bytes.size());
  const std::optional<WindowRecord> back = DecodeWindow(view->payload);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->key, record.key);
  EXPECT_EQ(back->number, 0x0102030405060708u);
  EXPECT_EQ(back->at, At(100));
  EXPECT_EQ(back->period, std::chrono::minutes(60));
  EXPECT_EQ(back->reserved, 4000000000u);
  EXPECT_EQ(back->seen, record.seen);
}

TEST(Record, WindowOfEachPartAndScopeComesBack) {
  for (const WindowPart part : {WindowPart::kScope, WindowPart::kSystem, WindowPart::kBefore}) {
    for (const int scope : {0, 1, 2, 3}) {
      for (const char* address : {"", "192.0.2.1", "2001:db8::1"}) {
        WindowRecord record = {.key = {.destination = "d",
                                       .part = part,
                                       .each_address = (scope & 1) != 0,
                                       .each_source = (scope & 2) != 0},
                               .period = Duration(1)};
        if (*address != 0) record.key.address = *IpAddress::Parse(address);
        const std::vector<std::byte> bytes = Encoded(record);
        const auto back = DecodeWindow(DecodeRecord(kSegment, bytes)->payload);
        ASSERT_TRUE(back);
        EXPECT_EQ(back->key, record.key);
        EXPECT_TRUE(back->seen.empty());
      }
    }
  }
}

TEST(Record, EveryCutWindowIsRefused) {
  const std::vector<std::byte> bytes = Encoded(FullWindow());
  const Bytes payload = DecodeRecord(kSegment, bytes)->payload;
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(DecodeWindow(payload.first(size))) << size;
  }
}

// FORMAT.md: where its fields lie, and what they may be.
TEST(Record, WindowOfUnknownNumbersIsRefused) {
  WindowRecord record = FullWindow();
  record.key.address = *IpAddress::Parse("192.0.2.1");
  const std::vector<std::byte> bytes = Encoded(record);
  const Bytes view = DecodeRecord(kSegment, bytes)->payload;
  const std::vector<std::byte> good(view.begin(), view.end());
  ASSERT_TRUE(DecodeWindow(good));
  const auto refused = [&](size_t at, std::vector<int> values) {
    for (const int value : values) {
      std::vector<std::byte> bad = good;
      bad[at] = static_cast<std::byte>(value);
      EXPECT_FALSE(DecodeWindow(bad)) << "byte " << at << " is " << value;
    }
  };
  refused(23, {0x80, 0xff});    // A negative period.
  refused(28, {3, 255});        // Part.
  refused(29, {4, 8, 255});     // Scope.
  refused(30, {0, 1, 5, 255});  // Family; without one there is no address.
  refused(31, {1});
  refused(36, {1});  // Behind an IPv4 address.
  std::vector<std::byte> timeless = good;
  std::fill(timeless.begin() + 16, timeless.begin() + 24, std::byte{0});
  EXPECT_FALSE(DecodeWindow(timeless));
}

TEST(Record, WindowHasItsPairsInOrderAndNoMoreThanABucketEach) {
  WindowRecord record = FullWindow();
  record.seen = {{.by = At(5), .recipients = 1}, {.by = At(5), .recipients = 1}};
  std::vector<std::byte> bytes = Encoded(record);
  EXPECT_FALSE(DecodeWindow(DecodeRecord(kSegment, bytes)->payload));
  record.seen.clear();
  for (int i = 0; i < 65; ++i) record.seen.push_back({.by = At(i), .recipients = 1});
  bytes = Encoded(record);
  EXPECT_TRUE(DecodeWindow(DecodeRecord(kSegment, bytes)->payload));
  record.seen.push_back({.by = At(65), .recipients = 1});
  EXPECT_DEATH(Encoded(record), "CHECK");
  // 66 pairs that somebody else wrote: the count stands before the last 65 of 12 bytes.
  const Bytes payload = DecodeRecord(kSegment, bytes)->payload;
  std::vector<std::byte> more(payload.begin(), payload.end());
  more[more.size() - 65 * 12 - 4] = std::byte{66};
  more.resize(more.size() + 12, std::byte{0x7f});
  EXPECT_FALSE(DecodeWindow(more));
}

TEST(Record, SourcePoolStandsBehindTheEnvelopeId) {
  AcceptedRecord record = FullRecord();
  const size_t without = Encoded(record).size();
  record.source_pool = "newsletters";
  const std::vector<std::byte> bytes = Encoded(record);
  EXPECT_NE(bytes.size(), without);
  const Bytes view = DecodeRecord(kSegment, bytes)->payload;
  const auto back = DecodeAccepted(view);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->source_pool, "newsletters");
  EXPECT_EQ(back->envelope_id, "QQ314159");
  EXPECT_EQ(back->recipients[1].address, record.recipients[1].address);
  EXPECT_TRUE(back->eight_bit);
  EXPECT_TRUE(back->bounce);
  // Flags are byte 42 of the payload: 8 is unknown, and a pool that is named has a name.
  std::vector<std::byte> payload(view.begin(), view.end());
  EXPECT_EQ(payload[42], std::byte{7});
  payload[42] = std::byte{15};
  EXPECT_FALSE(DecodeAccepted(payload));
  AcceptedRecord bare = Accepted(1, 1, 0);
  const std::vector<std::byte> bare_bytes = Encoded(bare);
  const Bytes bare_view = DecodeRecord(kSegment, bare_bytes)->payload;
  payload.assign(bare_view.begin(), bare_view.end());
  payload[42] = std::byte{4};
  payload.resize(payload.size() + 2);  // An empty text.
  EXPECT_FALSE(DecodeAccepted(payload));
}

TEST(Record, BodyIsTheSameHoweverItIsGathered) {
  const std::string body = BodyOf(1, 301);
  const std::vector<std::byte> whole = EncodedBody(body, 0);
  for (size_t split = 1; split <= body.size(); ++split) EXPECT_EQ(EncodedBody(body, split), whole);
  const std::optional<RecordView> view = DecodeRecord(kSegment, whole);
  ASSERT_TRUE(view);
  const std::optional<BodyRecord> piece = DecodeBody(view->payload);
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->id.value, 42u);
  EXPECT_EQ(piece->body_offset, 7u);
  EXPECT_EQ(AsText(piece->bytes), body);
}

TEST(Record, LargestBodyPieceFitsAndOneMoreDoesNot) {
  const std::string body(1 << 20, 'x');
  const std::vector<std::byte> bytes = EncodedBody(body, 1);
  EXPECT_EQ(bytes.size(), 24u + 16u + (1u << 20));
  EXPECT_TRUE(DecodeRecord(kSegment, bytes));
  EXPECT_DEATH(EncodedBody(body + "x", 1), "CHECK");
}

// 1 MiB and 128 KiB of payload; its length stands at 8.
TEST(Record, LongestPayloadIsClaimedAndOneMoreIsNot) {
  std::vector<std::byte> bytes;
  EncodeDone(kSegment, {1}, bytes);
  const uint32_t longest = (1 << 20) + (128 << 10);
  const auto claimed = [&](uint32_t length) {
    for (size_t i = 0; i < 4; ++i) bytes[8 + i] = static_cast<std::byte>(length >> (8 * i));
    return ClaimedBytes(kSegment, bytes);
  };
  EXPECT_EQ(claimed(longest), 24 + longest);
  EXPECT_EQ(kRecordBytesMax, 24 + longest);
  EXPECT_EQ(claimed(longest + 1), std::nullopt);
}

TEST(Record, EveryChangedByteIsRefused) {
  for (std::vector<std::byte> bytes :
       {Encoded(FullRecord()), Encoded(FullWindow()), EncodedBody("Hello", 2)}) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      for (const int change : {0x01, 0x80, 0xff}) {
        bytes[i] ^= static_cast<std::byte>(change);
        EXPECT_FALSE(DecodeRecord(kSegment, bytes)) << "byte " << i;
        bytes[i] ^= static_cast<std::byte>(change);
      }
    }
    EXPECT_TRUE(DecodeRecord(kSegment, bytes));
  }
}

TEST(Record, EveryCutIsRefused) {
  for (const std::vector<std::byte>& bytes :
       {Encoded(FullRecord()), Encoded(FullWindow()), EncodedBody("Hello", 2)}) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodeRecord(kSegment, Bytes(bytes).first(size))) << size;
    }
  }
}

// A payload that checks but says something else than its type allows: a program's fault, not a
// disk's.
TEST(Record, EveryCutPayloadIsRefused) {
  const std::vector<std::byte> bytes = Encoded(FullRecord());
  const Bytes payload = DecodeRecord(kSegment, bytes)->payload;
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(DecodeAccepted(payload.first(size))) << size;
    EXPECT_FALSE(DecodeOutcome(payload.first(size)) && size != 16);
  }
}

TEST(Record, PayloadOfUnknownNumbersIsRefused) {
  std::vector<std::byte> bytes;
  EncodeOutcome(kSegment, {.id = {9}, .state = RecipientState::kDelivered, .recipients = {1}},
                bytes);
  std::vector<std::byte> payload(bytes.begin() + 24, bytes.begin() + 24 + 20);
  EXPECT_TRUE(DecodeOutcome(payload));
  for (const int state : {0, 3, 255}) {
    payload[8] = static_cast<std::byte>(state);
    EXPECT_FALSE(DecodeOutcome(payload)) << state;
  }
  payload[8] = std::byte{1};
  payload[15] = std::byte{0xff};  // 4 thousand million recipients.
  EXPECT_FALSE(DecodeOutcome(payload));
}

TEST(Record, AnotherSegmentsRecordDoesNotCheck) {
  const std::vector<std::byte> bytes = Encoded(FullRecord());
  EXPECT_FALSE(DecodeRecord(SegmentId::Of(3, 78), bytes));
  EXPECT_FALSE(DecodeRecord(SegmentId::Of(4, 77), bytes));
  // Even with its name changed to fit: the seed is another.
  std::vector<std::byte> renamed = bytes;
  renamed[16] = std::byte{78};
  EXPECT_TRUE(ClaimedBytes(SegmentId::Of(3, 78), renamed));
  EXPECT_FALSE(DecodeRecord(SegmentId::Of(3, 78), renamed));
}

TEST(Record, SegmentNamesTheOneBeforeIt) {
  std::vector<std::byte> bytes;
  EncodeSegment({.id = kSegment,
                 .created = At(5),
                 .previous = {76},
                 .previous_bytes = 800,
                 .previous_ends = 640,
                 .previous_begins = 704},
                bytes);
  EXPECT_EQ(bytes.size(), kSegmentRecordBytes);
  const auto record = DecodeSegment(DecodeRecord(kSegment, bytes)->payload);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->version, 2u);
  EXPECT_EQ(record->id, kSegment);
  EXPECT_EQ(record->created, At(5));
  EXPECT_EQ(record->previous.value, 76u);
  EXPECT_EQ(record->previous_bytes, 800u);
  EXPECT_EQ(record->previous_ends, 640u);
  EXPECT_EQ(record->previous_begins, 704u);
}

TEST(Record, VersionShowsEvenWhereTheRecordDoesNotCheck) {
  std::vector<std::byte> bytes;
  EncodeSegment({.version = 7, .id = kSegment, .created = At(5)}, bytes);
  bytes[0] ^= std::byte{1};
  EXPECT_EQ(ShownVersion(bytes), 7u);
  bytes[24] = std::byte{'s'};
  EXPECT_EQ(ShownVersion(bytes), std::nullopt);
  EXPECT_EQ(ShownVersion({}), std::nullopt);
}

// limits.h: 1,000 recipients. RFC 5321 4.5.3.1: a path of 256 with its brackets, a domain of 255.
// RFC 3461 4.2: an ORCPT of 500. What is left for replies is shared.
TEST(Record, LargestEnvelopeFits) {
  AcceptedRecord record = Accepted(1, 1, 1000);
  record.sender = std::string(254, 's');
  record.envelope_id = std::string(100, 'e');
  for (RecipientRecord& recipient : record.recipients) {
    recipient.address = std::string(254, 'a');
    recipient.destination = std::string(255, 'd');
    recipient.original_recipient = std::string(500, 'o');
    recipient.last_reply = std::string(5000, 'r');
  }
  const std::vector<std::byte> bytes = Encoded(record);
  // 1,179,648 less 56 + 254 + 100 and 1,000 times 20 + 254 + 255 + 500, over 1,000: 150.
  const auto back = DecodeAccepted(DecodeRecord(kSegment, bytes)->payload);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->recipients[999].last_reply, std::string(150, 'r'));
  EXPECT_EQ(back->recipients[999].original_recipient.size(), 500u);

  // With 6,000 pieces of 16 bytes: 54.
  record.body.resize(6000, {.segment = kSegment, .offset = 7, .bytes = 9});
  const std::vector<std::byte> pieces = Encoded(record);
  const auto with_pieces = DecodeAccepted(DecodeRecord(kSegment, pieces)->payload);
  ASSERT_TRUE(with_pieces);
  EXPECT_EQ(with_pieces->body, record.body);
  EXPECT_EQ(with_pieces->recipients[999].last_reply, std::string(54, 'r'));
}

// FORMAT.md: 48 bytes, three texts, and then the number of pieces.
TEST(Record, PiecesStandBehindTheTextsAndAreNoMoreThanThereAre) {
  for (const absl::string_view pool : {"", "p"}) {
    AcceptedRecord record = Accepted(1, 12, 1);
    record.sender = "s";
    record.source_pool = std::string(pool);
    record.body = {{SegmentId::Of(3, 76), 640, 5}, {kSegment, 128, 7}};
    const std::vector<std::byte> bytes = Encoded(record);
    const Bytes view = DecodeRecord(kSegment, bytes)->payload;
    const auto back = DecodeAccepted(view);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->body, record.body);
    std::vector<std::byte> payload(view.begin(), view.end());
    const size_t count_at = 48 + 3 + 2 + (pool.empty() ? 0 : 3);
    EXPECT_EQ(payload[count_at], std::byte{2});
    EXPECT_EQ(payload[count_at + 4], std::byte{76});
    EXPECT_EQ(payload[count_at + 4 + 16], std::byte{77});
    for (const int count : {0, 1, 3, 255}) {
      payload[count_at] = static_cast<std::byte>(count);
      EXPECT_FALSE(DecodeAccepted(payload)) << count;
    }
  }
}

TEST(Record, LongReplyIsCutAtItsBound) {
  for (const size_t size : {kLastReplyBytesMax - 1, kLastReplyBytesMax, kLastReplyBytesMax + 1}) {
    std::vector<std::byte> bytes;
    EncodeDeferred(kSegment, {.id = {1}, .last_reply = std::string(size, 'r'), .recipients = {0}},
                   bytes);
    const auto back = DecodeDeferred(DecodeRecord(kSegment, bytes)->payload);
    EXPECT_EQ(back->last_reply.size(), std::min(size, kLastReplyBytesMax));
  }
}

// --- FORMAT.md

std::vector<std::byte> BytesOfTheExample() {
  std::ifstream page(SLUICE_SPOOL_FORMAT_MD);
  EXPECT_TRUE(page.good());
  std::vector<std::byte> bytes;
  size_t segment_begin = 0;
  std::string line;
  for (bool in_example = false; std::getline(page, line);) {
    if (line.rfind("; segment", 0) == 0) in_example = true;
    if (!in_example || line.rfind(";", 0) == 0 || line.rfind("```", 0) == 0) continue;
    std::istringstream words(line);
    std::string word;
    words >> word;
    const size_t offset = std::stoul(word, nullptr, 16);
    if (offset == 0) segment_begin = bytes.size();
    EXPECT_EQ(offset, bytes.size() - segment_begin);
    while (words >> word) bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
  }
  return bytes;
}

// Segment 1 with its index, and the first record of segment 2. (FORMAT.md's bytes are not the
// encoder's: format_example.py computes them.)
TEST(Format, ExampleIsReproducedByteForByte) {
  const SegmentId segment = SegmentId::Of(0, 1);
  const MessageId id = {uint64_t{1767225601000000} << 8};
  const absl::string_view wire = "Subject: hi\r\n\r\nHello.\r\n.\r\n";
  std::vector<std::byte> bytes;
  Index index;
  uint64_t begun = 0;  // The record that was encoded last begins there.
  const auto place = [&] {
    const auto from = static_cast<uint32_t>(std::exchange(begun, bytes.size()));
    return Extent{
        .segment = segment, .offset = from, .bytes = static_cast<uint32_t>(bytes.size()) - from};
  };
  EncodeSegment({.id = segment, .created = At(0)}, bytes);
  const Bytes parts[] = {AsBytes(wire)};
  EncodeBodyPrefix(segment, id, 0, parts, bytes);
  const auto body_at = static_cast<uint32_t>(bytes.size());
  bytes.insert(bytes.end(), parts[0].begin(), parts[0].end());
  bytes.resize(bytes.size() + PaddingFor(wire.size()));
  place();
  AcceptedRecord accepted = Accepted(id.value, wire.size(), 0);
  accepted.message_bytes = 23;
  accepted.body_checksum = 0x0b87a7a196973ce7;  // xxhsum -H3 of the 26 bytes.
  accepted.body = {{segment, body_at, static_cast<uint32_t>(wire.size())}};
  accepted.recipients = {Recipient("a@example.com"), Recipient("b@example.net")};
  EncodeAccepted(segment, accepted, bytes);
  index.AddAccepted(accepted, place(), false);
  const OutcomeRecord outcome = {.id = id, .recipients = {0}};
  EncodeOutcome(segment, outcome, bytes);
  place();
  index.AddOutcome(outcome);
  const DeferredRecord deferred = {.id = id,
                                   .attempts = 1,
                                   .next_attempt = At(61),
                                   .last_reply = "450 4.2.1 busy",
                                   .peer_name = "mx.example.net",
                                   .command = "RCPT TO:<b@example.net>",
                                   .recipients = {1}};
  EncodeDeferred(segment, deferred, bytes);
  index.AddDeferred(deferred, place());
  EncodeDone(segment, id, bytes);
  place();
  index.AddDone(id);
  const WindowRecord window = {.key = {.destination = "example.com"},
                               .number = 1,
                               .at = At(2),
                               .period = std::chrono::minutes(60),
                               .reserved = 16,
                               .seen = {{.by = At(2), .recipients = 1}}};
  EncodeWindow(segment, window, bytes);
  index.AddWindow(window, place());
  SegmentRecord next = {.id = SegmentId::Of(0, 2), .created = At(3), .previous = segment};
  next.previous_ends = bytes.size();
  index.EncodeEnds(segment, bytes);
  next.previous_begins = bytes.size();
  index.EncodeBegins(segment, bytes);
  next.previous_bytes = bytes.size();
  EncodeSegment(next, bytes);
  EXPECT_EQ(bytes, BytesOfTheExample());
}

}  // namespace
}  // namespace sluice::spool
