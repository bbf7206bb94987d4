// The list whose links live in its members, against a plain vector.

#include "engine/base/intrusive_list.h"

#include <algorithm>
#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

struct Parcel {
  int number = 0;  // So that the hooks are not at the member's address.
  ListHook queue;
  ListHook in_flight;
};
using Queue = IntrusiveList<Parcel, &Parcel::queue>;

std::vector<int> Numbers(const Queue& queue) {
  std::vector<int> numbers;
  for (Parcel* parcel = queue.Front(); parcel != nullptr; parcel = queue.Next(*parcel)) {
    numbers.push_back(parcel->number);
  }
  return numbers;
}

TEST(IntrusiveList, EmptyAtFirst) {
  Queue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.Front(), nullptr);
  EXPECT_EQ(queue.PopFront(), nullptr);
}

TEST(IntrusiveList, FirstInFirstOutAndPastTheQueueForTheFront) {
  Queue queue;
  Parcel a{.number = 1}, b{.number = 2}, c{.number = 3};
  queue.PushBack(a);
  queue.PushBack(b);
  queue.PushFront(c);
  EXPECT_EQ(Numbers(queue), (std::vector<int>{3, 1, 2}));
  EXPECT_EQ(queue.PopFront(), &c);
  queue.Remove(b);
  EXPECT_EQ(queue.PopFront(), &a);
  EXPECT_TRUE(queue.empty());
}

TEST(IntrusiveList, AMemberMayBeInTwoListsByTwoHooks) {
  Queue queue;
  IntrusiveList<Parcel, &Parcel::in_flight> in_flight;
  Parcel parcel;
  queue.PushBack(parcel);
  in_flight.PushBack(parcel);
  queue.Remove(parcel);
  EXPECT_FALSE(parcel.queue.linked());
  EXPECT_TRUE(parcel.in_flight.linked());
  EXPECT_EQ(in_flight.Front(), &parcel);
}

TEST(IntrusiveList, AsAPlainVector) {
  Random random(1);
  std::vector<Parcel> parcels(16);
  for (int i = 0; i < 16; ++i) parcels[i].number = i;
  Queue queue;
  std::vector<int> plain;
  for (int step = 0; step < 10'000; ++step) {
    Parcel& parcel = parcels[random.Below(parcels.size())];
    if (parcel.queue.linked()) {
      queue.Remove(parcel);
      plain.erase(std::find(plain.begin(), plain.end(), parcel.number));
    } else if (random.Chance(0.5)) {
      queue.PushBack(parcel);
      plain.push_back(parcel.number);
    } else {
      queue.PushFront(parcel);
      plain.insert(plain.begin(), parcel.number);
    }
    ASSERT_EQ(queue.size(), plain.size());
    ASSERT_EQ(queue.empty(), plain.empty());
    ASSERT_EQ(Numbers(queue), plain);
  }
}

TEST(IntrusiveListDeathTest, JoinsOnceAndLeavesOnce) {
  Queue queue;
  Parcel parcel;
  EXPECT_DEATH(queue.Remove(parcel), "CHECK");
  queue.PushBack(parcel);
  EXPECT_DEATH(queue.PushBack(parcel), "CHECK");
}

}  // namespace
}  // namespace sluice
