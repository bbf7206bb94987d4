// Slots named by slot and generation: a handle finds its own use of a slot and no later one, the
// slab ends at its capacity, and a slot keeps its buffers from one use to the next.

#include "engine/base/slab.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

struct Connection {
  std::string greeting;
  int transactions = 0;
};

TEST(Slab, AHandleFindsItsUseAndNoLaterOne) {
  Slab<Connection> connections(4);
  Connection* first = connections.Take();
  const Handle handle = connections.HandleOf(*first);
  EXPECT_TRUE(static_cast<bool>(handle));
  EXPECT_EQ(connections.Find(handle), first);
  connections.Release(*first);
  EXPECT_EQ(connections.Find(handle), nullptr);

  Connection* second = connections.Take();
  EXPECT_EQ(second, first);  // Last in, first out.
  EXPECT_EQ(connections.Find(handle), nullptr);
  EXPECT_EQ(connections.Find(connections.HandleOf(*second)), second);
}

TEST(Slab, AHandleOfNothingFindsNothing) {
  Slab<Connection> connections(4);
  EXPECT_EQ(connections.Find(Handle{}), nullptr);
  EXPECT_FALSE(static_cast<bool>(Handle{}));
  EXPECT_EQ(connections.Find({.slot = 0, .generation = 1}), nullptr);  // Never used.
  EXPECT_EQ(connections.Find({.slot = 4, .generation = 1}), nullptr);  // Beyond the capacity.
}

TEST(Slab, EndsAtItsCapacity) {
  Slab<Connection> connections(3);
  std::vector<Connection*> taken;
  for (int i = 0; i < 3; ++i) taken.push_back(connections.Take());
  EXPECT_TRUE(connections.full());
  EXPECT_EQ(connections.Take(), nullptr);
  EXPECT_EQ(connections.taken(), 3u);
  connections.Release(*taken[1]);
  EXPECT_EQ(connections.Take(), taken[1]);
  EXPECT_EQ(connections.Take(), nullptr);
}

TEST(Slab, ASlotKeepsItsBuffers) {
  Slab<Connection> connections(1);
  Connection* connection = connections.Take();
  connection->greeting.assign(1000, 'x');
  const char* buffer = connection->greeting.data();
  connections.Release(*connection);
  connection = connections.Take();
  connection->greeting.clear();
  EXPECT_GE(connection->greeting.capacity(), 1000u);
  EXPECT_EQ(connection->greeting.data(), buffer);
}

TEST(Slab, GenerationsWrapWithinTheir24BitsAndAreNeverZero) {
  Slab<int> slots(1);
  for (uint32_t i = 0; i < (1u << 24) - 2; ++i) slots.Release(*slots.Take());
  EXPECT_EQ(slots.HandleOf(*slots.Take()).generation, (1u << 24) - 1);
  slots.Release(*slots.Find({.slot = 0, .generation = (1u << 24) - 1}));
  EXPECT_EQ(slots.HandleOf(*slots.Take()).generation, 1u);
}

TEST(Slab, EachTakenSlotOnceInOrder) {
  Slab<Connection> connections(8);
  for (int i = 0; i < 5; ++i) connections.Take()->transactions = i;
  connections.Release(*connections.Find({.slot = 2, .generation = 1}));
  std::vector<int> visited;
  connections.ForEach([&](Connection& connection) { visited.push_back(connection.transactions); });
  EXPECT_EQ(visited, (std::vector<int>{0, 1, 3, 4}));
}

TEST(SlabDeathTest, ASlotIsReleasedOnce) {
  Slab<int> slots(2);
  int* slot = slots.Take();
  slots.Release(*slot);
  EXPECT_DEATH(slots.Release(*slot), "CHECK");
  EXPECT_DEATH(slots.HandleOf(*slot), "CHECK");
}

TEST(SlabDeathTest, AStrangerIsNoSlot) {
  Slab<int> slots(2);
  int stranger = 0;
  EXPECT_DEATH(slots.Release(stranger), "CHECK");
}

}  // namespace
}  // namespace sluice
