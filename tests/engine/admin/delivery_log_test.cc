// From a shard's events to the lines of the file: nothing is seen before its batch is durable, all
// of it is seen afterwards, and what cannot be kept is counted and told. A real file in a temporary
// folder; the writer is ended before the file is read, so nothing waits for time to pass.

#include "engine/admin/delivery_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace sluice::admin {
namespace {

using delivery::Event;
using delivery::EventType;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DeliveryLog : public testing::Test {
 protected:
  DeliveryLog()
      : path_(testing::TempDir() + "delivery-" +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".jsonl") {
    std::remove(path_.c_str());
  }
  ~DeliveryLog() override { std::remove(path_.c_str()); }

  void Open(uint32_t shards = 1, uint64_t waiting_bytes_max = 1 << 20) {
    auto writer = DeliveryLogWriter::Open(
        {.path = path_, .shards = shards, .waiting_bytes_max = waiting_bytes_max});
    ASSERT_TRUE(writer.ok()) << writer.status();
    writer_ = *std::move(writer);
  }

  // What each line tells: the recipient, or "Dropped N". Ends the writer.
  std::vector<std::string> Lines() {
    writer_.reset();
    return LinesOf(path_);
  }

  static std::vector<std::string> LinesOf(const std::string& path) {
    std::vector<std::string> told;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const json parsed = json::parse(line, nullptr, false);
      if (parsed.is_discarded()) {
        told.push_back("not JSON: " + line);
      } else if (parsed["type"] == "Dropped") {
        told.push_back("Dropped " + std::to_string(parsed["count"].get<uint64_t>()));
      } else {
        told.push_back(parsed["recipient"]);
      }
    }
    return told;
  }

  static Event About(const std::string& recipient) {
    Event event;
    event.type = EventType::kDelivery;
    event.recipient = recipient;
    return event;
  }

  const std::string path_;
  std::unique_ptr<DeliveryLogWriter> writer_;
};

TEST_F(DeliveryLog, ShowsNothingBeforeItsBatchIsDurable) {
  Open();
  ShardLog log(0, *writer_);
  log.Emit(About("a@example.com"), 1);
  log.Emit(About("b@example.com"), 2);
  log.Release(0);
  log.Release(1);
  EXPECT_THAT(Lines(), ElementsAre("a@example.com"));
}

TEST_F(DeliveryLog, KeepsTheOrderOfBatchesAndOfEventsInABatch) {
  Open();
  ShardLog log(0, *writer_);
  log.Emit(About("a"), 1);
  log.Emit(About("c"), 3);
  log.Emit(About("b"), 2);  // About an older batch than the newest.
  log.Emit(About("d"), 3);
  log.Emit(About("e"), 4);
  log.Release(3);
  log.Release(3);
  log.Release(4);
  EXPECT_THAT(Lines(), ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(DeliveryLog, HasALineForEveryEventOfEveryShard) {
  constexpr uint32_t kShards = 4;
  constexpr int kBatches = 50;
  constexpr int kEventsOfABatch = 20;
  Open(kShards, 16 << 20);
  std::vector<std::thread> shards;
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    shards.emplace_back([this, shard] {
      ShardLog log(shard, *writer_);
      for (int batch = 1; batch <= kBatches; ++batch) {
        for (int i = 0; i < kEventsOfABatch; ++i) {
          log.Emit(About(std::to_string(shard) + "/" +
                         std::to_string((batch - 1) * kEventsOfABatch + i)),
                   static_cast<uint64_t>(batch));
        }
        log.Release(static_cast<uint64_t>(batch));
      }
    });
  }
  for (std::thread& shard : shards) shard.join();

  // Each shard's lines stand in their order, whatever stands between them.
  std::vector<int> next(kShards, 0);
  for (const std::string& line : Lines()) {
    const size_t shard = static_cast<size_t>(line[0] - '0');
    ASSERT_LT(shard, kShards) << line;
    EXPECT_EQ(line.substr(2), std::to_string(next[shard]++));
  }
  for (const int lines : next) EXPECT_EQ(lines, kBatches * kEventsOfABatch);
}

TEST_F(DeliveryLog, DropsAndCountsWhatWaitsTooLongForItsBatch) {
  Open();
  ShardLog log(0, *writer_, /*held_bytes_max=*/1);
  log.Emit(About("kept"), 1);  // The bound is looked at before an event, not within.
  log.Emit(About("lost"), 1);
  log.Emit(About("lost"), 2);
  log.Release(2);
  log.Emit(About("after"), 3);
  log.Release(3);
  EXPECT_THAT(Lines(), ElementsAre("Dropped 2", "kept", "after"));
}

TEST_F(DeliveryLog, DropsAndCountsWhatTheWriterDoesNotTake) {
  Open(1, /*waiting_bytes_max=*/1000);
  ShardLog log(0, *writer_);
  const std::string large(2000, 'x');
  log.Emit(About(large), 1);
  log.Emit(About(large), 1);
  log.Release(1);
  log.Emit(About("small"), 2);
  log.Release(2);
  EXPECT_THAT(Lines(), ElementsAre("Dropped 2", "small"));
}

TEST_F(DeliveryLog, TellsAGapOnlyOnce) {
  Open(1, 1000);
  ShardLog log(0, *writer_);
  log.Emit(About(std::string(2000, 'x')), 1);
  log.Release(1);
  log.Emit(About("small"), 2);
  log.Release(2);
  log.Emit(About("last"), 3);
  log.Release(3);
  EXPECT_THAT(Lines(), ElementsAre("Dropped 1", "small", "last"));
}

TEST_F(DeliveryLog, GoesOnWhereItEndedBefore) {
  Open();
  {
    ShardLog log(0, *writer_);
    log.Emit(About("before"), 1);
    log.Release(1);
  }
  EXPECT_THAT(Lines(), ElementsAre("before"));
  Open();
  ShardLog log(0, *writer_);
  log.Emit(About("after"), 1);
  log.Release(1);
  EXPECT_THAT(Lines(), ElementsAre("before", "after"));
}

TEST_F(DeliveryLog, EndsTheLineInWhichAnEarlierProcessDied) {
  std::ofstream(path_) << "{\"type\":\"Del";
  Open();
  ShardLog log(0, *writer_);
  log.Emit(About("after"), 1);
  log.Release(1);
  EXPECT_THAT(Lines(), ElementsAre("not JSON: {\"type\":\"Del", "after"));
}

TEST_F(DeliveryLog, MakesANewFileAfterARotation) {
  Open();
  ShardLog log(0, *writer_);
  const std::string rotated = path_ + ".1";
  ASSERT_EQ(std::rename(path_.c_str(), rotated.c_str()), 0);
  writer_->Reopen();
  // The writer looks at both together or at Reopen first, so the line is in the new file.
  log.Emit(About("after"), 1);
  log.Release(1);
  EXPECT_THAT(Lines(), ElementsAre("after"));
  EXPECT_THAT(LinesOf(rotated), IsEmpty());
  std::remove(rotated.c_str());
}

TEST_F(DeliveryLog, CannotBeOpenedInAFolderThatIsNotThere) {
  const auto writer =
      DeliveryLogWriter::Open({.path = testing::TempDir() + "no-such-folder/delivery.jsonl"});
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("no-such-folder/delivery.jsonl"));
}

TEST_F(DeliveryLog, TellsOfAGapAtItsEnd) {
  Open(1, 1000);
  testing::internal::CaptureStderr();
  {
    ShardLog log(0, *writer_);
    log.Emit(About(std::string(2000, 'x')), 1);
    log.Release(1);
  }
  EXPECT_THAT(Lines(), ElementsAre("Dropped 1"));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// No line is as short as one byte, so none goes through.
TEST_F(DeliveryLog, SaysAtTheEndWhatNoLineCouldTell) {
  Open(2, /*waiting_bytes_max=*/1);
  testing::internal::CaptureStderr();
  {
    ShardLog first(0, *writer_);
    ShardLog second(1, *writer_);
    first.Emit(About("lost"), 1);
    first.Emit(About("lost"), 1);
    first.Release(1);
    second.Emit(About("lost"), 1);
    second.Release(1);
    second.Emit(About("not durable, so it is not missing"), 2);
  }
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "sluice: 3 events are missing at the end of the delivery log " + path_ + "\n");
}

// /dev/full refuses every write with ENOSPC: the writer gives up at the end instead of waiting
// forever, and says what it had still to write.
TEST_F(DeliveryLog, OfAFullDiskEndsWithTheEngine) {
  testing::internal::CaptureStderr();
  auto writer = DeliveryLogWriter::Open({.path = "/dev/full", .shards = 1});
  ASSERT_TRUE(writer.ok());
  {
    ShardLog log(0, **writer, /*held_bytes_max=*/1);
    log.Emit(About("lost"), 1);
    log.Emit(About("dropped"), 1);
    log.Emit(About("dropped"), 1);
    log.Release(1);  // A line that tells of two, and one of its own.
    log.Emit(About("lost"), 2);
    log.Release(2);
  }
  writer->reset();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("sluice: 4 events are missing at the end of the delivery log /dev/full\n"));
}

// A file may grow to here and no further, which a write sees as EFBIG after a part of the line.
TEST_F(DeliveryLog, CountsALineThatWasCutAsMissing) {
  Open();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 3000;  // A line of a short recipient, and not all of the long one.
  const auto ignored = signal(SIGXFSZ, SIG_IGN);
  testing::internal::CaptureStderr();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  {
    ShardLog log(0, *writer_);
    log.Emit(About("written"), 1);
    log.Emit(About(std::string(3000, 'x')), 1);
    log.Emit(About("behind it"), 1);
    log.Release(1);
  }
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, ignored);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "written");
  EXPECT_THAT(lines[1], HasSubstr("not JSON"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("sluice: 2 events are missing at the end of the delivery log " + path_));
}

TEST_F(DeliveryLog, SaysThatASingleEventIsMissing) {
  Open(1, 1);
  testing::internal::CaptureStderr();
  {
    ShardLog log(0, *writer_);
    log.Emit(About("lost"), 1);
    log.Release(1);
  }
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "sluice: 1 event is missing at the end of the delivery log " + path_ + "\n");
}

}  // namespace
}  // namespace sluice::admin
