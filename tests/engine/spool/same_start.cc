#include "tests/engine/spool/same_start.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "engine/spool/stock.h"
#include "engine/spool/takeover.h"

namespace sluice::spool {
namespace {

bool Waits(const RecipientRecord& recipient) {
  return recipient.state == RecipientState::kWaiting;
}

std::optional<RecordView> RecordAt(MemoryDisk& disk, const Extent& place) {
  if (!disk.Holds(place.segment)) return std::nullopt;
  return DecodeRecord(place.segment,
                      Bytes(disk.BytesOf(place.segment)).subspan(place.offset, place.bytes));
}

// What a group must be: a run of recipients of one destination of whom one waits. A round that was
// cut off is known for some of them; the latest counts.
struct ExpectedGroup {
  std::string destination;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t waiting = 0;
  uint16_t attempts = 0;
  WallTime next_attempt{};
};

std::vector<ExpectedGroup> GroupsOf(const std::vector<RecipientRecord>& recipients) {
  std::vector<ExpectedGroup> groups;
  for (uint32_t i = 0; i < recipients.size(); ++i) {
    const RecipientRecord& recipient = recipients[i];
    if (i == 0 || recipients[i - 1].destination != recipient.destination) {
      groups.push_back({.destination = recipient.destination, .first = i});
    }
    ExpectedGroup& group = groups.back();
    ++group.count;
    if (!Waits(recipient)) continue;
    if (group.waiting++ == 0 || recipient.attempts > group.attempts) {
      group.attempts = recipient.attempts;
      group.next_attempt = recipient.next_attempt;
    }
  }
  std::erase_if(groups, [](const ExpectedGroup& group) { return group.waiting == 0; });
  return groups;
}

class Comparison {
 public:
  Comparison(MemoryDisk& disk, const Recovered& plain) : disk_(disk), plain_(plain) {
    for (const RecoveredMessage& message : plain.messages) {
      messages_[message.accepted.id.value] = &message;
    }
  }

  void Segments(const Stock& stock);
  void Windows(const Stock& stock);
  void Message(const TakenMessage& taken, const std::set<SegmentId>& held);
  void AllWereTaken() { EXPECT_TRUE(messages_.empty()) << "lost: " << messages_.begin()->first; }

 private:
  void States(const TakenMessage& taken, const RecoveredMessage& message, AcceptedRecord promise);
  void Groups(const TakenMessage& taken, const RecoveredMessage& message,
              const AcceptedRecord& promise);
  void Deferral(const TakenMessage::Group& group, const RecoveredMessage& message);

  MemoryDisk& disk_;
  const Recovered& plain_;
  std::map<uint64_t, const RecoveredMessage*> messages_;  // Not taken up yet.
};

// Whatever Recover keeps together stays together.
void Comparison::Segments(const Stock& stock) {
  ASSERT_EQ(stock.segments.size(), plain_.segments.size());
  std::map<uint16_t, uint16_t> keepers;
  for (size_t i = 0; i < stock.segments.size(); ++i) {
    const Log::LiveSegment& is = stock.segments[i].live;
    const Log::LiveSegment& was = plain_.segments[i];
    EXPECT_EQ(is.segment.id, was.segment.id);
    EXPECT_EQ(is.used_bytes, was.used_bytes);
    EXPECT_EQ(keepers.try_emplace(was.keeper, is.keeper).first->second, is.keeper);
  }
}

void Comparison::Windows(const Stock& stock) {
  std::map<SegmentId, uint16_t> keepers;
  for (const StockSegment& segment : stock.segments) {
    keepers[segment.live.segment.id] = segment.live.keeper;
  }
  ASSERT_EQ(stock.windows.size(), plain_.windows.size());
  for (size_t i = 0; i < stock.windows.size(); ++i) {
    const RecoveredWindow& is = stock.windows[i];
    const RecoveredWindow& was = plain_.windows[i];
    EXPECT_EQ(is.record.key, was.record.key);
    EXPECT_EQ(is.record.number, was.record.number);
    EXPECT_EQ(is.record.at, was.record.at);
    EXPECT_EQ(is.record.period, was.record.period);
    EXPECT_EQ(is.record.reserved, was.record.reserved);
    EXPECT_EQ(is.record.seen, was.record.seen);
    EXPECT_EQ(is.segment, was.segment);
    EXPECT_EQ(is.keeper, keepers.at(is.segment));
  }
}

void Comparison::Message(const TakenMessage& taken, const std::set<SegmentId>& held) {
  const auto found = messages_.find(taken.id.value);
  ASSERT_NE(found, messages_.end()) << "taken twice, or not alive: " << taken.id.value;
  const RecoveredMessage& message = *found->second;
  messages_.erase(found);
  SCOPED_TRACE(taken.id.value);
  EXPECT_EQ(taken.first_segment, message.first_segment);
  EXPECT_EQ(taken.log_bytes, message.log_bytes);
  EXPECT_EQ(taken.accepted_at, message.accepted.accepted_at);
  EXPECT_TRUE(held.contains(taken.first_segment));
  EXPECT_TRUE(held.contains(taken.accepted.segment));

  const std::optional<RecordView> view = RecordAt(disk_, taken.accepted);
  ASSERT_TRUE(view && view->type == RecordType::kAccepted);
  const std::optional<AcceptedRecord> promise = DecodeAccepted(view->payload);
  ASSERT_TRUE(promise);
  EXPECT_EQ(promise->id, taken.id);
  EXPECT_EQ(promise->sender, message.accepted.sender);
  EXPECT_EQ(promise->body, message.body);
  ASSERT_EQ(promise->recipients.size(), message.accepted.recipients.size());
  States(taken, message, *promise);
  Groups(taken, message, *promise);
}

// The promise's states, and on them what became final since then.
void Comparison::States(const TakenMessage& taken, const RecoveredMessage& message,
                        AcceptedRecord promise) {
  const std::pair<const std::vector<uint32_t>&, RecipientState> finals[] = {
      {taken.delivered, RecipientState::kDelivered}, {taken.bounced, RecipientState::kBounced}};
  for (const auto& [indexes, state] : finals) {
    for (const uint32_t index : indexes) {
      ASSERT_LT(index, promise.recipients.size());
      EXPECT_TRUE(Waits(promise.recipients[index])) << "final twice: " << index;
      promise.recipients[index].state = state;
    }
  }
  for (size_t i = 0; i < promise.recipients.size(); ++i) {
    EXPECT_EQ(promise.recipients[i].state, message.accepted.recipients[i].state) << i;
  }
}

void Comparison::Groups(const TakenMessage& taken, const RecoveredMessage& message,
                        const AcceptedRecord& promise) {
  const std::vector<ExpectedGroup> expected = GroupsOf(message.accepted.recipients);
  ASSERT_EQ(taken.groups.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const TakenMessage::Group& group = taken.groups[i];
    EXPECT_EQ(group.destination, expected[i].destination);
    EXPECT_EQ(group.first, expected[i].first);
    EXPECT_EQ(group.count, expected[i].count);
    EXPECT_EQ(group.waiting, expected[i].waiting);
    EXPECT_EQ(group.attempts, expected[i].attempts);
    EXPECT_EQ(group.next_attempt, expected[i].next_attempt);
    if (group.deferred.bytes > 0) {
      Deferral(group, message);
      continue;
    }
    for (uint32_t r = group.first; r < group.first + group.count; ++r) {
      const RecipientRecord& is = message.accepted.recipients[r];
      if (Waits(is)) {
        EXPECT_EQ(is.attempts, promise.recipients[r].attempts);
      }
    }
  }
}

// Whole records of the group's last round, with the replies that Recover found.
void Comparison::Deferral(const TakenMessage::Group& group, const RecoveredMessage& message) {
  uint32_t told = 0;
  Extent rest = group.deferred;
  while (rest.bytes > 0) {
    const std::optional<RecordView> view = RecordAt(disk_, rest);
    ASSERT_TRUE(view && view->type == RecordType::kDeferred);
    const std::optional<DeferredRecord> record = DecodeDeferred(view->payload);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->id, message.accepted.id);
    EXPECT_EQ(record->attempts, group.attempts);
    EXPECT_EQ(record->next_attempt, group.next_attempt);
    for (const uint32_t index : record->recipients) {
      const RecipientRecord& is = message.accepted.recipients.at(index);
      if (!Waits(is)) continue;
      EXPECT_EQ(is.last_reply, record->last_reply);
      EXPECT_EQ(is.attempts, record->attempts);
      ++told;
    }
    ASSERT_LE(view->whole_bytes, rest.bytes);
    rest.offset += static_cast<uint32_t>(view->whole_bytes);
    rest.bytes -= static_cast<uint32_t>(view->whole_bytes);
  }
  EXPECT_GT(told, 0u);
}

}  // namespace

uint64_t ExpectSameStart(MemoryDisk& disk, const Recovered& plain, const SameStart& options) {
  disk.Kill();
  absl::StatusOr<Stock> stock = TakeStock(disk);
  EXPECT_TRUE(stock.ok()) << stock.status();
  if (!stock.ok()) return 0;
  EXPECT_EQ(stock->next_sequence, plain.next_sequence);
  EXPECT_EQ(stock->greatest_window, plain.greatest_window);
  EXPECT_GE(stock->greatest_id, plain.greatest_id);
  if (!options.damaged) {
    EXPECT_EQ(stock->greatest_id, plain.greatest_id);
    EXPECT_EQ(stock->damaged_records, plain.damaged_records);
  }
  Comparison comparison(disk, plain);
  comparison.Segments(*stock);
  comparison.Windows(*stock);

  uint64_t indexed = 0;
  std::vector<std::vector<StockSegment>> shares(options.shards);
  for (StockSegment& segment : stock->segments) {
    if (segment.begins_at < segment.begins_end) ++indexed;
    shares[segment.live.keeper % options.shards].push_back(std::move(segment));
  }
  for (std::vector<StockSegment>& share : shares) {
    std::set<SegmentId> held;
    for (const StockSegment& segment : share) held.insert(segment.live.segment.id);
    Takeover takeover(disk, std::move(share), stock->changes);
    while (true) {
      const absl::StatusOr<const TakenMessage*> taken = takeover.Next();
      EXPECT_TRUE(taken.ok()) << taken.status();
      if (!taken.ok() || *taken == nullptr) break;
      comparison.Message(**taken, held);
    }
  }
  comparison.AllWereTaken();
  return indexed;
}

}  // namespace sluice::spool
