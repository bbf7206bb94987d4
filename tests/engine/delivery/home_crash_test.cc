// Mail under random crashes, against a model that knows three things of a recipient: that its
// message was promised, that its outcome was handed to the home, and that this was told.
//
//   promised, no outcome handed in    it waits after the crash, with its message as it came
//   an outcome handed in              either
//   told                              final, after every crash
//
// Every operation of the disk completes when chance says so; at a crash the disk keeps any of what
// was not synced. Envelopes have a null sender, so that there is no other mail than this.

#include <map>
#include <set>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::RecipientState;

class HomeCrashTest : public HomeTest {
 protected:
  HomeCrashTest() {
    log_options_ = {.segment_bytes = 64 << 10, .outcome_reserve_bytes = 8 << 10};
    options_.body_blocks = 64;
    options_.bounce_profiles.by_default.initial_retry = seconds(10);
    options_.bounce_profiles.by_default.max_retry = seconds(30);
    sender_ = "";
    events_.on_told = [this](const Told& event) {
      if (event.type == EventType::kDelivery || event.type == EventType::kBounce)
        told_.insert(event.recipient);
    };
    for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSync}) io_.Hold(kind);
  }

  struct Sent {
    std::string wire;
    Texts recipients;
    Handle session;
    bool promised = false;
  };

  void Arrive() {
    Incoming* incoming = Begin();
    if (incoming == nullptr) return;
    ASSERT_FALSE(sent_.contains(incoming->id.value));
    Sent& sent = sent_[incoming->id.value];
    sent.wire = WireOf(sent_.size(), 50 + chance_.Below(15000));
    const uint64_t recipients = 1 + chance_.Below(4);
    for (uint64_t i = 0; i < recipients; ++i) {
      sent.recipients.push_back(
          absl::StrCat("r", sent_.size(), ".", i, "@d", chance_.Below(3), ".example"));
    }
    Sends(*incoming, sent.wire);
    sent.session = Ends(*incoming, sent.recipients);
  }

  void ReturnOne() {
    if (out_.empty()) return;
    const auto at = out_.begin() + static_cast<ptrdiff_t>(chance_.Below(out_.size()));
    Parcel& parcel = **at;
    out_.erase(at);
    if (chance_.Chance(0.5)) return Asks(parcel);
    End(parcel);
  }
  // As a connection does that has the body.
  void EndLent() {
    if (decided_.empty()) return;
    Parcel& parcel = *decided_.front();
    decided_.erase(decided_.begin());
    if (parcel.body_state == BodyState::kLent) {
      EXPECT_TRUE(TextOf(parcel.message->body) == sent_.at(parcel.message->id.value).wire);
      return End(parcel);
    }
    ASSERT_EQ(parcel.body_state, BodyState::kNoRoom);
    parcel.result = ParcelResult::kRecalled;
    home_->OnReturned(parcel, now_);
  }
  void End(Parcel& parcel) {
    constexpr Verdict kVerdicts[] = {Verdict::kDelivered, Verdict::kDeferred, Verdict::kBounced,
                                     Verdict::kUntried};
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      if (parcel.outcome(i).state != RecipientState::kWaiting) continue;
      if (parcel.outcome(i).verdict != Verdict::kUntried) continue;
      const Verdict verdict = kVerdicts[chance_.Below(i == 0 ? 3 : 4)];
      if (verdict == Verdict::kUntried) continue;
      Answer(parcel, i, verdict, "299 so be it");
      if (verdict != Verdict::kDeferred) handed_in_.insert(parcel.recipient(i).address);
    }
    parcel.result = ParcelResult::kAttempted;
    home_->OnReturned(parcel, now_);
  }

  void Act() {
    const uint64_t dice = chance_.Below(100);
    if (dice < 12) {
      Arrive();
    } else if (dice < 30) {
      ReturnOne();
    } else if (dice < 45) {
      EndLent();
    } else if (dice < 85) {
      if (io_.in_flight() > 0) Step();
    } else if (dice < 97) {
      now_.instant += milliseconds(chance_.Below(5000));
      now_.wall += milliseconds(chance_.Below(5000));
    } else if (dice < 99) {
      disk_.faults.write_bytes_max = chance_.Chance(0.5) ? UINT64_MAX : 1 + chance_.Below(4000);
    } else {
      CrashAndStart();
    }
    Turn({});
    NotePromises();
  }
  void NotePromises() {
    for (auto& [id, sent] : sent_) sent.promised |= Kept(sent.session) == true;
    promises_.clear();
  }

  void CrashAndStart() {
    chance_.Chance(0.5) ? PowerCut() : Kill();
    now_.wall += seconds(1);  // Ids are of their microsecond: none is used twice.
    Judge(AfterKill());
    Start();
  }
  // What is on the disk, after a crash.
  void Judge(const spool::Recovered& recovered) {
    std::map<uint64_t, const spool::RecoveredMessage*> found;
    for (const spool::RecoveredMessage& message : recovered.messages) {
      ASSERT_TRUE(sent_.contains(message.accepted.id.value));
      found[message.accepted.id.value] = &message;
    }
    for (auto& [id, sent] : sent_) {
      const auto message = found.find(id);
      std::set<std::string> waiting;
      if (message != found.end()) {
        sent.promised = true;  // Nobody may have heard so; from now on it is.
        for (const spool::RecipientRecord& recipient : message->second->accepted.recipients) {
          if (recipient.state == RecipientState::kWaiting) waiting.insert(recipient.address);
        }
      }
      if (!sent.promised) continue;
      for (const std::string& recipient : sent.recipients) {
        const bool waits = waiting.contains(recipient);
        EXPECT_FALSE(waits && told_.contains(recipient)) << recipient;
        EXPECT_TRUE(waits || handed_in_.contains(recipient)) << recipient;
        if (waits) handed_in_.erase(recipient);
      }
    }
  }

  // With all completing at once, everything ends.
  void Finish() {
    for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSync}) io_.Free(kind);
    for (int i = 0; i < 1000; ++i) {
      Settle();
      NotePromises();
      while (!decided_.empty()) EndLent();
      while (!out_.empty()) ReturnOne();
      Pass(seconds(5));
      if (home_->messages() == 0) break;
    }
    EXPECT_EQ(home_->messages(), 0u);
    EXPECT_EQ(home_->parcels(), 0u);
    EXPECT_EQ(home_->blocks_taken(), 0u);
    Judge(AfterKill());
  }

  Random chance_{0};
  std::map<uint64_t, Sent> sent_;  // By message id.
  std::set<std::string> handed_in_;
  std::set<std::string> told_;
};

class HomeCrashSeedTest : public HomeCrashTest, public testing::WithParamInterface<uint64_t> {};

TEST_P(HomeCrashSeedTest, LosesNothingThatWasPromised) {
  chance_ = Random(GetParam());
  random_ = Random(GetParam() + 1000);
  Start();
  for (int i = 0; i < 2000 && !HasFailure(); ++i) Act();
  CrashAndStart();
  if (!HasFailure()) Finish();
}

INSTANTIATE_TEST_SUITE_P(Seeds, HomeCrashSeedTest, testing::Range<uint64_t>(0, 30));

}  // namespace
}  // namespace sluice::delivery
