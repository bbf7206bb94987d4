// The index of a segment: what is put in comes out again, cut into payloads where an entry ends; it
// is never longer than it said it could be; and entries that are not what they should be are seen,
// or say something harmless.

#include "engine/spool/index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/base/random.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr SegmentId kSegment = {uint64_t{3} << 48 | 77};

// Of the payload, the byte that says which part it belongs to.
constexpr size_t kEntriesMax = (1 << 20) + (128 << 10) - 1;

MessageId Id(uint64_t us, uint8_t shard) {
  return {us << 8 | shard};
}

Extent Place(uint32_t offset, uint32_t bytes = 88) {
  return {.segment = kSegment, .offset = offset, .bytes = bytes};
}

bool Same(const EndEntry& a, const EndEntry& b) {
  return a.kind == b.kind && a.id == b.id && a.place == b.place && a.state == b.state &&
         a.attempts == b.attempts && a.next_attempt == b.next_attempt &&
         a.recipients == b.recipients && a.origins == b.origins;
}

std::vector<EndEntry> EndsIn(Bytes entries) {
  EndsReader reader(entries, kSegment);
  std::vector<EndEntry> found;
  for (EndEntry entry; reader.Next(entry); entry = {}) found.push_back(entry);
  EXPECT_FALSE(reader.damaged());
  return found;
}

struct FoundGroup {
  std::string destination;
  uint32_t first = 0;
  uint32_t count = 0;
  uint16_t attempts = 0;
  WallTime next_attempt{};
  bool operator==(const FoundGroup&) const = default;
};

std::vector<FoundGroup> GroupsOf(const BeginEntry& entry) {
  std::vector<FoundGroup> groups;
  for (const BeginEntry::Group& group : entry.groups) {
    groups.push_back({.destination = std::string(group.destination),
                      .first = group.first,
                      .count = group.count,
                      .attempts = group.attempts,
                      .next_attempt = group.next_attempt});
  }
  return groups;
}

// The entries of what was encoded: each record checks, is of the part, and holds whole entries.
template <class Reader, class Entry>
size_t CountEntries(Bytes encoded, uint8_t part, std::vector<size_t>* payloads = nullptr) {
  size_t entries = 0;
  while (!encoded.empty()) {
    const std::optional<RecordView> view = DecodeRecord(kSegment, encoded);
    EXPECT_TRUE(view && view->type == RecordType::kIndex);
    if (!view) break;
    EXPECT_EQ(IndexPart(view->payload), part);
    if (payloads != nullptr) payloads->push_back(view->payload.size());
    Reader reader(view->payload.subspan(1), kSegment);
    for (Entry entry; reader.Next(entry);) ++entries;
    EXPECT_FALSE(reader.damaged());
    encoded = encoded.subspan(view->whole_bytes);
  }
  return entries;
}

// --- There and back.

TEST(Index, EmptyOneHasOnlyItsOrigins) {
  Index index;
  std::vector<std::byte> ends, begins;
  EXPECT_GE(index.bytes_max(), 2 * (24u + 8) + 41);
  index.EncodeEnds(kSegment, ends);
  index.EncodeBegins(kSegment, begins);
  EXPECT_EQ(ends.size(), 24u + 48);  // Part, kind, id, 32 bytes: 42, and padding.
  EXPECT_EQ(begins.size(), 24u + 8);
  const std::vector<EndEntry> found = EndsIn(DecodeRecord(kSegment, ends)->payload.subspan(1));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(Same(found[0], {.kind = EndKind::kOrigins}));
}

TEST(Index, WhatEndsAMessageComesBack) {
  Index index;
  index.AddOutcome({.id = Id(1, 0), .state = RecipientState::kBounced, .recipients = {0, 999}});
  index.AddDeferred({.id = Id(2, 63), .attempts = 65535, .next_attempt = At(-5), .recipients = {7}},
                    Place(640, 4000000000));
  index.AddDone(Id(3, 64));
  AcceptedRecord moved = Accepted(Id(4, 255).value, 10);
  index.AddAccepted(moved, Place(800), /*again=*/true);
  moved.id = Id(5, 128);
  index.AddAccepted(moved, Place(900), /*again=*/false);
  index.AddBody(Id(9, 200));

  const std::vector<std::byte> ends = index.TakeEnds();
  const std::vector<EndEntry> found = EndsIn(ends);
  ASSERT_EQ(found.size(), 5u);
  EXPECT_TRUE(Same(found[0], {.kind = EndKind::kOutcome,
                              .id = Id(1, 0),
                              .state = RecipientState::kBounced,
                              .recipients = {0, 999}}));
  EXPECT_TRUE(Same(found[1], {.kind = EndKind::kDeferred,
                              .id = Id(2, 63),
                              .place = Place(640, 4000000000),
                              .attempts = 65535,
                              .next_attempt = At(-5),
                              .recipients = {7}}));
  EXPECT_TRUE(Same(found[2], {.kind = EndKind::kDone, .id = Id(3, 64)}));
  EXPECT_TRUE(Same(found[3], {.kind = EndKind::kAgain, .id = Id(4, 255), .place = Place(800)}));
  // Shards 0 and 63, 64, 128, and 200 and 255; the greatest id is that of a body.
  EXPECT_TRUE(Same(
      found[4], {.kind = EndKind::kOrigins,
                 .id = Id(9, 200),
                 .origins = {1 | uint64_t{1} << 63, 1, 1, uint64_t{1} << 8 | uint64_t{1} << 63}}));
}

TEST(Index, OfAWindowTheRecordThatCountsComesBack) {
  const auto window = [](absl::string_view destination, uint64_t number) {
    return WindowRecord{.key = {.destination = std::string(destination)}, .number = number};
  };
  Index index;
  index.AddWindow(window("a", 5), Place(80));
  index.AddWindow(window("b", 6), Place(160));
  index.AddWindow(window("a", 7), Place(240));
  index.AddWindow(window("b", 6), Place(320));  // A copy.
  index.AddWindow(window("a", 5), Place(400));  // A copy of what does not count any more.
  const std::vector<std::byte> ends = index.TakeEnds();
  std::set<uint32_t> offsets;
  for (const EndEntry& entry : EndsIn(ends)) {
    if (entry.kind == EndKind::kWindow) offsets.insert(entry.place.offset);
  }
  EXPECT_EQ(offsets, (std::set<uint32_t>{240, 320}));
}

TEST(Index, PromiseComesBackInGroupsOfWhomOneWaits) {
  AcceptedRecord promise = Accepted(Id(1, 2).value, 5007, 0);
  promise.accepted_at = At(77);
  for (const char* address : {"a@x", "b@x", "c@y", "d@z", "e@z", "f@x"}) {
    promise.recipients.push_back(Recipient(address));
  }
  promise.recipients[0].state = RecipientState::kDelivered;
  promise.recipients[1].attempts = 3;
  promise.recipients[1].next_attempt = At(60);
  promise.recipients[2].state = RecipientState::kBounced;  // All of y: no group.
  promise.recipients[4].attempts = 2;                      // The round of z was cut off.
  promise.recipients[4].next_attempt = At(20);
  promise.body = {{SegmentId::Of(3, 76), 640, 5000}, {kSegment, 128, 7}};
  Index index;
  index.AddAccepted(promise, Place(176, 304), false);
  const std::vector<std::byte> begins = index.TakeBegins();

  BeginsReader reader(begins, kSegment);
  BeginEntry entry;
  ASSERT_TRUE(reader.Next(entry));
  EXPECT_EQ(entry.id, promise.id);
  EXPECT_EQ(entry.place, Place(176, 304));
  EXPECT_EQ(entry.first_segment, SegmentId::Of(3, 76));
  EXPECT_EQ(entry.log_bytes, 304u + (40 + 5000) + (40 + 7 + 1));
  EXPECT_EQ(entry.accepted_at, At(77));
  EXPECT_EQ(entry.recipients, 6u);
  EXPECT_EQ(entry.final, (std::vector<uint32_t>{0, 2}));
  EXPECT_EQ(GroupsOf(entry),
            (std::vector<FoundGroup>{
                {.destination = "x", .count = 2, .attempts = 3, .next_attempt = At(60)},
                {.destination = "z", .first = 3, .count = 2, .attempts = 2, .next_attempt = At(20)},
                {.destination = "x", .first = 5, .count = 1}}));
  EXPECT_FALSE(reader.Next(entry));
  EXPECT_FALSE(reader.damaged());
}

TEST(Index, ClearedItIsAnothers) {
  Index index;
  index.AddDone(Id(1, 1));
  index.AddAccepted(Accepted(Id(2, 2).value, 10), Place(88), true);
  index.AddWindow({.key = {.destination = "a"}}, Place(80));
  index.Clear();
  std::vector<std::byte> cleared, fresh;
  index.EncodeEnds(kSegment, cleared);
  index.EncodeBegins(kSegment, cleared);
  Index().EncodeEnds(kSegment, fresh);
  Index().EncodeBegins(kSegment, fresh);
  EXPECT_EQ(cleared, fresh);
}

// --- Cuts, and the bound.

// limits.h: 1,000 recipients; each at a destination of its own, of 255 bytes, and the promise
// moved.
AcceptedRecord LongestPromise(uint64_t id) {
  AcceptedRecord promise = Accepted(id, 10, 0);
  for (int i = 0; i < 1000; ++i) {
    RecipientRecord recipient;
    recipient.destination = std::string(252, 'd') + std::to_string(100 + i % 2);
    if (i % 3 == 0) recipient.state = RecipientState::kDelivered;
    promise.recipients.push_back(recipient);
  }
  return promise;
}

TEST(Index, LongestEntryIsShorterThanHalfAPayload) {
  AcceptedRecord promise = LongestPromise(1);
  for (RecipientRecord& recipient : promise.recipients) recipient.state = {};
  Index index;
  index.AddAccepted(promise, Place(88), false);
  EXPECT_LT(index.TakeBegins().size(), kEntriesMax / 2);
}

TEST(Index, PayloadsAreCutWhereAnEntryEnds) {
  Index index;
  constexpr uint64_t kPromises = 20;
  for (uint64_t id = 1; id <= kPromises; ++id) {
    index.AddAccepted(LongestPromise(id), Place(88), true);
  }
  std::vector<uint32_t> recipients(1000);
  constexpr uint64_t kOutcomes = 700;  // 4,014 bytes each: 2.8 MB.
  for (uint64_t id = 1; id <= kOutcomes; ++id) {
    index.AddOutcome({.id = {id}, .recipients = recipients});
  }
  const size_t bytes_max = index.bytes_max();
  std::vector<std::byte> ends, begins;
  index.EncodeEnds(kSegment, ends);
  index.EncodeBegins(kSegment, begins);
  EXPECT_LE(ends.size() + begins.size(), bytes_max);

  std::vector<size_t> payloads;
  EXPECT_EQ((CountEntries<EndsReader, EndEntry>(ends, 0, &payloads)), kPromises + kOutcomes + 1);
  EXPECT_EQ(payloads.size(), 3u);
  EXPECT_EQ((CountEntries<BeginsReader, BeginEntry>(begins, 1, &payloads)), kPromises);
  EXPECT_GE(payloads.size(), 6u);
  for (const size_t payload : payloads) EXPECT_LE(payload, kEntriesMax + 1);
}

// Ends of 9 bytes, an outcome of 14 and 4 for each recipient, the origins of 41: together as long
// as a payload may be, and one recipient more.
TEST(Index, FullPayloadIsFullToTheByte) {
  for (const size_t over : {0u, 1u}) {
    size_t dones = (kEntriesMax - 14 - 41 - 4 * 1000) / 9;
    while ((kEntriesMax - 14 - 41 - 9 * dones) % 4 != 0) --dones;
    const size_t recipients = (kEntriesMax - 14 - 41 - 9 * dones) / 4;
    Index index;
    for (size_t i = 0; i < dones; ++i) index.AddDone({1});
    index.AddOutcome({.id = {1}, .recipients = std::vector<uint32_t>(recipients + over)});
    const size_t bytes_max = index.bytes_max();
    std::vector<std::byte> ends;
    index.EncodeEnds(kSegment, ends);
    EXPECT_LE(ends.size(), bytes_max);
    std::vector<size_t> payloads;
    EXPECT_EQ((CountEntries<EndsReader, EndEntry>(ends, 0, &payloads)), dones + 2);
    ASSERT_EQ(payloads.size(), 1 + over);
    EXPECT_EQ(payloads[0], 1 + (over == 0 ? kEntriesMax : kEntriesMax - 41 + 4));
  }
}

// Draws what a segment may hold: mostly short records, sometimes only the longest.
struct DrawnIndex {
  Random random;
  Index index;
  size_t ends = 1;  // The origins.
  size_t begins = 0;
  std::set<std::string> windows;

  explicit DrawnIndex(uint64_t seed) : random(seed) {
    const uint64_t records = random.Chance(0.1) ? random.Below(60000) : random.Below(300);
    const bool long_ones = random.Chance(0.1);
    for (uint64_t i = 0; i < records; ++i) Add(long_ones && random.Chance(0.01));
  }

  void Add(bool a_long_one) {
    const MessageId id = {random.Below(1 << 20)};
    std::vector<uint32_t> recipients(a_long_one ? 1000 : random.Below(4));
    for (uint32_t& index : recipients) index = static_cast<uint32_t>(random.Below(1000));
    const Extent place = Place(static_cast<uint32_t>(random.Below(1 << 26)));
    switch (random.Below(5)) {
      case 0:
        index.AddOutcome({.id = id, .recipients = recipients});
        ++ends;
        return;
      case 1:
        index.AddDeferred({.id = id, .recipients = recipients}, place);
        ++ends;
        return;
      case 2:
        index.AddDone(id);
        ++ends;
        return;
      case 3: {
        const std::string destination = std::to_string(random.Below(100));
        index.AddWindow({.key = {.destination = destination}}, place);
        windows.insert(destination);
        return;
      }
      case 4: {
        const bool again = random.Chance(0.3);
        AcceptedRecord promise = a_long_one ? LongestPromise(id.value) : Accepted(id.value, 9, 3);
        for (RecipientRecord& recipient : promise.recipients) {
          if (random.Chance(0.2)) recipient.state = RecipientState::kBounced;
        }
        index.AddAccepted(promise, place, again);
        ++begins;
        ends += again ? 1 : 0;
        return;
      }
    }
  }
};

TEST(Index, IsNeverLongerThanItSaidAndHoldsAll) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    DrawnIndex drawn(seed);
    const size_t bytes_max = drawn.index.bytes_max();
    std::vector<std::byte> ends, begins;
    drawn.index.EncodeEnds(kSegment, ends);
    drawn.index.EncodeBegins(kSegment, begins);
    ASSERT_LE(ends.size() + begins.size(), bytes_max) << seed;
    ASSERT_EQ((CountEntries<EndsReader, EndEntry>(ends, 0)), drawn.ends + drawn.windows.size());
    ASSERT_EQ((CountEntries<BeginsReader, BeginEntry>(begins, 1)), drawn.begins) << seed;
  }
}

// What the log reckons with for each record (kIndexEntryOverheadBytes): an entry grows the index by
// no more than the record's length and 96.
TEST(Index, EntryIsNotLongerThanItsRecordAndALittle) {
  std::vector<uint32_t> all(1000);
  for (const size_t recipients : {0u, 1u, 2u, 1000u}) {
    std::vector<uint32_t> some(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(recipients));
    const auto expect = [](auto encode, auto add) {
      std::vector<std::byte> record;
      encode(record);
      Index index;
      const size_t before = index.bytes_max();
      add(index);
      EXPECT_LE(index.bytes_max(), before + record.size() + 96);
    };
    const OutcomeRecord outcome = {.id = {1}, .recipients = some};
    expect([&](auto& out) { EncodeOutcome(kSegment, outcome, out); },
           [&](Index& index) { index.AddOutcome(outcome); });
    const DeferredRecord deferred = {.id = {1}, .recipients = some};
    expect([&](auto& out) { EncodeDeferred(kSegment, deferred, out); },
           [&](Index& index) { index.AddDeferred(deferred, Place(88)); });
    AcceptedRecord promise = LongestPromise(1);
    promise.recipients.resize(recipients);
    for (const bool all_wait : {false, true}) {
      if (all_wait) {
        for (RecipientRecord& recipient : promise.recipients) recipient.state = {};
      }
      expect([&](auto& out) { EncodeAccepted(kSegment, promise, out); },
             [&](Index& index) { index.AddAccepted(promise, Place(88), true); });
    }
  }
  const WindowRecord window = {.key = {.destination = "d"}, .period = Duration(1)};
  EXPECT_GE(WindowRecordBytes(window) + 96, 9u);
}

// --- Damage that a checksum did not find: a program's fault.

std::vector<std::byte> SomeEnds() {
  Index index;
  index.AddOutcome({.id = Id(1, 0), .recipients = {0, 1}});
  index.AddDeferred({.id = Id(2, 0), .attempts = 1, .next_attempt = At(5), .recipients = {7}},
                    Place(640));
  index.AddDone(Id(3, 0));
  index.AddAccepted(Accepted(Id(4, 0).value, 10), Place(800), true);
  index.AddWindow({.key = {.destination = "d"}}, Place(80));
  return index.TakeEnds();
}

std::vector<std::byte> SomeBegins() {
  Index index;
  AcceptedRecord promise = Accepted(Id(4, 0).value, 10, 3);
  promise.recipients[1].state = RecipientState::kDelivered;
  promise.recipients[2].destination = "example.net";
  index.AddAccepted(promise, Place(800), false);
  index.AddAccepted(Accepted(Id(5, 0).value, 10), Place(900), false);
  return index.TakeBegins();
}

// Walks what may be anything. How many entries there were, if they ended well.
template <class Reader, class Entry>
std::optional<size_t> Walk(Bytes entries) {
  Reader reader(entries, kSegment);
  size_t count = 0;
  for (Entry entry; reader.Next(entry); ++count) {
    if constexpr (std::is_same_v<Entry, BeginEntry>) {
      for (const BeginEntry::Group& group : entry.groups) {
        EXPECT_LE(uint64_t{group.first} + group.count, entry.recipients);
      }
    }
  }
  return reader.damaged() ? std::nullopt : std::optional(count);
}

template <class Reader, class Entry>
void ExpectCutsAreSeen(const std::vector<std::byte>& entries) {
  // Whole to where one entry ends: as if there had been no more.
  std::set<size_t> whole;
  for (size_t cut = 0; cut <= entries.size(); ++cut) {
    const std::optional<size_t> count = Walk<Reader, Entry>(Bytes(entries).first(cut));
    if (!count) continue;
    EXPECT_TRUE(whole.insert(*count).second) << cut;
  }
  const size_t all = *Walk<Reader, Entry>(entries);
  EXPECT_EQ(whole.size(), all + 1);  // 0, 1, 2 … all.
  EXPECT_EQ(*whole.rbegin(), all);
}

TEST(Index, EveryCutWithinAnEntryIsSeen) {
  ExpectCutsAreSeen<EndsReader, EndEntry>(SomeEnds());
  ExpectCutsAreSeen<BeginsReader, BeginEntry>(SomeBegins());
}

TEST(Index, EveryChangedByteIsSeenOrHarmless) {
  std::vector<std::byte> ends = SomeEnds();
  std::vector<std::byte> begins = SomeBegins();
  for (int value = 1; value < 256; ++value) {
    for (std::byte& byte : ends) {
      byte ^= static_cast<std::byte>(value);
      Walk<EndsReader, EndEntry>(ends);
      byte ^= static_cast<std::byte>(value);
    }
    for (std::byte& byte : begins) {
      byte ^= static_cast<std::byte>(value);
      Walk<BeginsReader, BeginEntry>(begins);
      byte ^= static_cast<std::byte>(value);
    }
  }
}

TEST(Index, UnknownNumbersAreSeen) {
  const std::vector<std::byte> good = SomeEnds();
  const auto with = [&](size_t at, int value) {
    std::vector<std::byte> bad = good;
    bad[at] = static_cast<std::byte>(value);
    return Walk<EndsReader, EndEntry>(bad);
  };
  for (const int kind : {0, 7, 255}) EXPECT_EQ(with(0, kind), std::nullopt) << kind;
  for (const int state : {0, 3, 255}) EXPECT_EQ(with(9, state), std::nullopt) << state;
  EXPECT_EQ(with(9, 2), 6u);
  EXPECT_EQ(with(13, 0xff), std::nullopt);  // So many recipients that there cannot be.
  // A promise of more recipients than a payload has bytes: behind id, place, segment, bytes, time.
  std::vector<std::byte> begins = SomeBegins();
  begins[8 + 8 + 8 + 8 + 8 + 3] = std::byte{1};
  EXPECT_EQ((Walk<BeginsReader, BeginEntry>(begins)), std::nullopt);
}

TEST(Index, PartIsKnown) {
  for (int first = 0; first < 256; ++first) {
    const std::byte payload[] = {static_cast<std::byte>(first), std::byte{9}};
    const std::optional<uint8_t> part = IndexPart(payload);
    EXPECT_EQ(part.has_value(), first <= 1);
    EXPECT_EQ(part.value_or(first), first);
  }
  EXPECT_EQ(IndexPart({}), std::nullopt);
}

}  // namespace
}  // namespace sluice::spool
