// Faults of the caller end the process where they happen: closing too early, two sends on a socket,
// an id twice in flight, bounds.

#include <string>
#include <vector>

#include "engine/io/descriptor_table.h"
#include "engine/io/operation_table.h"
#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

using DisciplineDeathTest = RingTest;

TEST_F(DisciplineDeathTest, ClosingWithAReceiveInFlight) {
  const Streams streams = ConnectedStreams();
  const OpId receive = Receive(streams.server);
  EXPECT_DEATH(io_->Close(streams.server), "in_flight == 0");
  End(receive);
  io_->Close(streams.server);  // As it should be.
}

TEST_F(DisciplineDeathTest, ClosingTwice) {
  const Streams streams = ConnectedStreams();
  io_->Close(streams.server);
  EXPECT_DEATH(io_->Close(streams.server), "open");
}

TEST_F(DisciplineDeathTest, ASocketThatWasNotOpenedHere) {
  EXPECT_DEATH(io_->Receive(NewId(), Socket{0}), "open");
  EXPECT_DEATH(io_->Receive(NewId(), Socket{-1}), "descriptor");
}

TEST_F(DisciplineDeathTest, ADescriptorBeyondTheProcesssLimit) {
  EXPECT_DEATH(io_->Sync(NewId(), File{INT32_MAX}), "size");
}

TEST_F(DisciplineDeathTest, TwoSendsOnOneSocket) {
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(32 << 20);
  const OpId first = Send(streams.client, text);
  EXPECT_DEATH(Send(streams.client, text), "sending");
  End(first);
}

TEST_F(DisciplineDeathTest, AnIdTwiceInFlight) {
  const Streams one = ConnectedStreams();
  const Streams other = ConnectedStreams();
  const OpId receive = Receive(one.server);
  EXPECT_DEATH(io_->Receive(receive, other.server), "was_not_in_flight");
}

TEST_F(DisciplineDeathTest, TheTagOfTheImplementation) {
  const Streams streams = ConnectedStreams();
  EXPECT_DEATH(io_->Receive(MakeOpId(0xff, {1, 1}), streams.server), "kTagOfImplementation");
}

TEST_F(DisciplineDeathTest, MorePartsThanASendGathers) {
  const Streams streams = ConnectedStreams();
  const std::string text = "x";
  const std::vector<Bytes> parts(kSendPartsMax + 1, BytesOf(text));
  EXPECT_DEATH(io_->Send(NewId(), streams.client, parts), "kSendPartsMax");
}

TEST_F(DisciplineDeathTest, MorePartsThanAWriteGathers) {
  const std::string text = "x";
  const std::vector<Bytes> parts(kWritePartsMax + 1, BytesOf(text));
  EXPECT_DEATH(io_->Write(NewId(), File{1}, parts, 0), "kWritePartsMax");
}

TEST_F(DisciplineDeathTest, NothingToSend) {
  const Streams streams = ConnectedStreams();
  const std::vector<Bytes> parts(3);
  EXPECT_DEATH(io_->Send(NewId(), streams.client, parts), "count > 0");
  EXPECT_DEATH(io_->Send(NewId(), streams.client, {}), "count > 0");
}

TEST(OperationTableDeathTest, HoldsItsCapacityAndNoMore) {
  OperationTable table({.operations = 2, .many_parts = 1});
  Operation& first = table.Begin(MakeOpId(1, {1, 1}), OperationKind::kSync, 5);
  table.Begin(MakeOpId(1, {2, 1}), OperationKind::kSync, 5);
  EXPECT_DEATH(table.Begin(MakeOpId(1, {3, 1}), OperationKind::kSync, 5), "operation != nullptr");
  table.End(first);
  table.Begin(MakeOpId(1, {3, 1}), OperationKind::kSync, 5);
  EXPECT_EQ(table.size(), 2u);
}

TEST(OperationTableDeathTest, ManyPartsAreFew) {
  const std::string text = "x";
  const std::vector<Bytes> many(kSendPartsMax + 1, BytesOf(text));
  OperationTable table({.operations = 2, .many_parts = 1});
  Operation& first = table.Begin(MakeOpId(1, {1, 1}), OperationKind::kWrite, 5);
  Operation& second = table.Begin(MakeOpId(1, {2, 1}), OperationKind::kWrite, 5);
  table.SetParts(first, many);
  EXPECT_EQ(first.left.size(), kSendPartsMax + 1);
  EXPECT_DEATH(table.SetParts(second, many), "many_parts != nullptr");
  table.End(first);
  table.SetParts(second, many);
}

TEST(OperationTableTest, AHandleOfAnEndedOperationFindsNothing) {
  OperationTable table({.operations = 2, .many_parts = 1});
  const OpId op = MakeOpId(1, {1, 1});
  Operation& operation = table.Begin(op, OperationKind::kSync, 5);
  const Handle handle = table.HandleOf(operation);
  EXPECT_EQ(table.Find(handle), &operation);
  EXPECT_EQ(table.Find(op), &operation);
  EXPECT_EQ(table.Find(MakeOpId(2, {1, 1})), nullptr);
  EXPECT_EQ(table.Find(MakeOpId(1, {1, 2})), nullptr);
  table.End(operation);
  EXPECT_EQ(table.Find(handle), nullptr);
  EXPECT_EQ(table.Find(op), nullptr);
}

TEST(DescriptorTableDeathTest, EndsWhatBegan) {
  DescriptorTable table(8);
  EXPECT_DEATH(table.Ended(3), "in_flight > 0");
  table.Began(3);
  table.Ended(3);
}

}  // namespace
}  // namespace sluice::io
