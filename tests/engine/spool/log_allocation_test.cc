// A log that runs does not allocate for a message: what it needs anew, it needs for a segment.

#include <string>

#include "engine/spool/log.h"
#include "gtest/gtest.h"
#include "tests/allocations.h"
#include "tests/engine/spool/blank_disk.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

// Messages come, are delivered, and are done; one batch each.
class Running {
 public:
  Running() { EXPECT_TRUE(log_.Begin(At(0)).ok()); }

  // Returns the segment in which the message begins.
  SegmentId PassOne() {
    const Bytes parts[] = {AsBytes(body_)};
    const Extent extent = log_.AppendBody(accepted_.id, 0, parts, At(1));
    accepted_.body.assign(1, extent);
    log_.AppendAccepted(accepted_, At(1));
    log_.Lives(extent.segment, body_.size());
    PerformAll();
    log_.AppendOutcome(delivered_, At(2));
    log_.AppendDone(accepted_.id, At(2));
    log_.Died(extent.segment, body_.size());
    PerformAll();
    log_.Reclaim();
    ++accepted_.id.value;
    delivered_.id = accepted_.id;
    return extent.segment;
  }

 private:
  void PerformAll() {
    for (Log::Step step = log_.NextStep(); step.kind != StepKind::kNone; step = log_.NextStep()) {
      size_t bytes = 0;
      for (const Bytes part : step.parts) bytes += part.size();
      log_.OnDone(static_cast<int32_t>(bytes));
    }
  }

  BlankDisk disk_;
  Log log_{{.segment_bytes = 2 << 20, .outcome_reserve_bytes = 64 << 10}, disk_, {}, 1};
  const std::string body_ = BodyOf(1, 10 << 10);
  AcceptedRecord accepted_ = Accepted(1, 10 << 10);
  OutcomeRecord delivered_ = {.id = {1}, .state = RecipientState::kDelivered, .recipients = {0}};
};

TEST(LogAllocation, NoneForAMessage) {
  Running running;
  SegmentId segment;
  for (int i = 0; i < 1000; ++i) segment = running.PassOne();  // Segments have gone round.
  int in_the_same = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t before = AllocationsOfThread();
    const SegmentId begun_in = running.PassOne();
    if (begun_in == segment) {
      ASSERT_EQ(AllocationsOfThread() - before, 0u);
      ++in_the_same;
    }
    segment = begun_in;
  }
  EXPECT_GT(in_the_same, 900);
}

}  // namespace
}  // namespace sluice::spool
