// Mailboxes and the post: what is put arrives once and in order, nothing shows before Publish, a
// full mailbox refuses, and a sleeping reader is woken. The two-thread tests are for the thread
// sanitizer too.

#include "engine/shard/mailbox.h"

#include <atomic>
#include <thread>

#include "engine/shard/post.h"
#include "gtest/gtest.h"

namespace sluice::shard {
namespace {

TEST(Mailbox, ShowsNothingBeforeItIsPublished) {
  Mailbox<int, 4> box;
  EXPECT_TRUE(box.Put(1));
  int mail = 0;
  EXPECT_FALSE(box.Take(mail));
  EXPECT_TRUE(box.Empty());
  EXPECT_TRUE(box.Publish());
  EXPECT_FALSE(box.Empty());
  EXPECT_TRUE(box.Take(mail));
  EXPECT_EQ(mail, 1);
  EXPECT_TRUE(box.Empty());
}

TEST(Mailbox, HasNothingNewToPublishTwice) {
  Mailbox<int, 4> box;
  box.Put(1);
  EXPECT_TRUE(box.Publish());
  EXPECT_FALSE(box.Publish());
}

TEST(Mailbox, RefusesWhenFullAndTakesAgainWhenAcknowledged) {
  Mailbox<int, 4> box;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(box.Put(i));
  EXPECT_FALSE(box.Put(4));
  box.Publish();
  int mail = 0;
  EXPECT_TRUE(box.Take(mail));
  EXPECT_FALSE(box.Put(4));  // Taken, and not acknowledged yet: the slot may still be read.
  box.Acknowledge();
  EXPECT_TRUE(box.Put(4));
  box.Publish();
  for (int expected = 1; expected <= 4; ++expected) {
    EXPECT_TRUE(box.Take(mail));
    EXPECT_EQ(mail, expected);
  }
}

TEST(Mailbox, CarriesAMillionInOrderBetweenTwoThreads) {
  constexpr uint64_t kMail = 1'000'000;
  auto box = std::make_unique<Mailbox<uint64_t, 64>>();
  std::thread writer([&] {
    for (uint64_t next = 0; next < kMail;) {
      while (next < kMail && box->Put(next)) ++next;
      box->Publish();
      std::this_thread::yield();
    }
  });
  uint64_t expected = 0;
  while (expected < kMail) {
    uint64_t mail = 0;
    while (box->Take(mail)) ASSERT_EQ(mail, expected++);
    box->Acknowledge();
    std::this_thread::yield();
  }
  writer.join();
}

// Counts wakes; a waiting thread is released by one.
class CountingWaker : public io::Waker {
 public:
  void Wake() override {
    wakes_.fetch_add(1);
    wakes_.notify_all();
  }
  void WaitBeyond(int seen) { wakes_.wait(seen); }
  int wakes() const { return wakes_.load(); }

 private:
  std::atomic<int> wakes_{0};
};

TEST(Post, WakesOnlyAShardThatSleeps) {
  Post post(2);
  CountingWaker waker;
  post.SetWaker(1, &waker);
  post.Box(0, 1).Put({});
  post.Box(0, 1).Publish();
  post.Notify(1);
  EXPECT_EQ(waker.wakes(), 0);
  EXPECT_FALSE(post.BeginSleep(1));  // Mail waits: no sleep.
  Mail mail;
  ASSERT_TRUE(post.Box(0, 1).Take(mail));
  EXPECT_TRUE(post.BeginSleep(1));
  post.Notify(1);
  EXPECT_EQ(waker.wakes(), 1);
  post.EndSleep(1);
  post.Notify(1);
  EXPECT_EQ(waker.wakes(), 1);
}

TEST(Post, HearsTheControlThreadToo) {
  Post post(1);
  post.Box(post.control(), 0).Put({.kind = MailKind::kDrain});
  EXPECT_TRUE(post.BeginSleep(0));
  post.EndSleep(0);
  post.Box(post.control(), 0).Publish();
  EXPECT_FALSE(post.BeginSleep(0));
}

// A reader that sleeps whenever it may, and a writer that wakes it: no wake is ever lost, or this
// hangs.
TEST(Post, LosesNoWake) {
  constexpr int kMail = 20'000;
  Post post(2);
  CountingWaker waker;
  post.SetWaker(1, &waker);
  std::thread reader([&] {
    for (int taken = 0; taken < kMail;) {
      const int seen = waker.wakes();
      if (post.BeginSleep(1)) waker.WaitBeyond(seen);
      post.EndSleep(1);
      Mail mail;
      while (post.Box(0, 1).Take(mail)) ++taken;
      post.Box(0, 1).Acknowledge();
    }
  });
  for (int i = 0; i < kMail; ++i) {
    while (!post.Box(0, 1).Put({})) std::this_thread::yield();
    post.Box(0, 1).Publish();
    post.Notify(1);
  }
  reader.join();
}

}  // namespace
}  // namespace sluice::shard
