#include "tests/crash/enumerate.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "tests/crash/judge.h"
#include "tests/crash/play.h"

namespace sluice::crash {
namespace {

// There are some recordings, of different kinds; more, when there are many states.
constexpr uint64_t kRecordingsMin = 4;
constexpr uint64_t kStatesOfARecording = 6000;
// So many choices in a row that were seen before, and the point has no more to show.
constexpr int kTriesMax = 8;
// States of large segments take long, and are as many times fewer.
constexpr uint64_t kLargeSegment = 1 << 20;
constexpr uint64_t kLargeShare = 5;
// What a point could not use (nothing is unsynced there) goes to the next ones, up to this.
constexpr double kCarriedMax = 12;
// Every so many states the engine starts from one, and so many crashes of that start are judged.
constexpr uint64_t kStartEvery = 10;
constexpr size_t kSecondCrashes = 4;

std::string at_work;

uint64_t SeedOf(uint64_t seed, uint64_t recording, size_t point = 0) {
  return (seed * 1000003 + recording) * 1000003 + point;
}

// A recording, and the walk through its points.
class Walker {
 public:
  Walker(const Play& play, Broken broken)
      : play_(play),
        past_(play.recording(), broken),
        marks_(play.marks()),
        judge_(play.facts(), play.windows()) {}

  // To the next point; false: that was the last.
  bool Next() {
    if (past_.point() == play_.recording().size()) return false;
    do {
      past_.Advance();
    } while (!past_.IsPoint());
    known_ = &marks_.At(past_.point());
    return true;
  }
  bool GoTo(size_t point) {
    while (past_.point() < point) {
      if (!Next()) return false;
    }
    return past_.point() == point;
  }

  const DiskPast& past() const { return past_; }
  const Known& known() const { return *known_; }
  Instant when() const { return play_.recording()[past_.point() - 1].when; }
  // What tells this state from others of the recording: what is there, and what was known.
  uint64_t Fingerprint(const Image& image) const {
    return image.hash ^ (marks_.marks() * 0x9e3779b97f4a7c15);
  }

  std::string WhatIsWrong(const Image& image) {
    return judge_.WhatIsWrong(FindOn(image), *known_, play_.WallOf(when()));
  }

 private:
  const Play& play_;
  DiskPast past_;
  Marks::Walk marks_;
  Judge judge_;
  const Known* known_ = nullptr;
};

std::unique_ptr<Play> PlayAfter(const Request& request, uint64_t recording, const Play& before,
                                const Walker& walker, const Image& image) {
  Random random(SeedOf(request.seed, recording, walker.past().point()));
  const auto shards = static_cast<uint32_t>(random.Between(1, 3));
  return std::make_unique<Play>(random.Next(), before, image, walker.known(), walker.when(),
                                shards);
}

class Enumerator {
 public:
  explicit Enumerator(const Request& request) : request_(request) {}
  Totals Run();

 private:
  bool enough() const {
    return totals_.states >= request_.states || totals_.lost >= request_.lost_max;
  }
  void Count(const Recording& recording);
  void Recorded(uint64_t number, uint64_t states);
  void AtPoint(const Play& play, Walker& walker, Place& place);
  bool OneState(const Play& play, Walker& walker, Place& place);
  void StartFrom(const Play& play, const Walker& walker, const Image& image, Place place);
  void SecondCrashes(const Play& play, Place place, Random& random);
  void Lost(const Place& place, const std::string& why);
  void Begin(const Place& place) {
    at_work = absl::StrCat("seed ", request_.seed, " failed: --replay ", place.ToString());
  }

  const Request request_;
  Totals totals_;
  absl::flat_hash_set<uint64_t> seen_;
  double owed_ = 0;  // States, at this point.
};

Totals Enumerator::Run() {
  const uint64_t recordings = std::max(kRecordingsMin, request_.states / kStatesOfARecording);
  const uint64_t share = std::max<uint64_t>(request_.states / recordings, 1);
  for (uint64_t number = 0; !enough(); ++number) Recorded(number, share);
  return totals_;
}

void Enumerator::Lost(const Place& place, const std::string& why) {
  ++totals_.lost;
  if (request_.broken != Broken::kNothing) return;
  std::printf("seed %llu failed: --replay %s: %s\n", static_cast<unsigned long long>(request_.seed),
              place.ToString().c_str(), why.c_str());
  std::fflush(stdout);
}

void Enumerator::Count(const Recording& recording) {
  ++totals_.recordings;
  for (const Event& event : recording) {
    totals_.writes += event.kind == Event::Kind::kWrite;
    totals_.recycled += event.kind == Event::Kind::kRecycled;
    totals_.removed += event.kind == Event::Kind::kRemoved;
  }
}

void Enumerator::Recorded(uint64_t number, uint64_t states) {
  Place place = {.recording = number};
  Begin(place);
  const Shape shape = DrawShape(request_.seed, number);
  if (shape.segment_bytes > kLargeSegment) states /= kLargeShare;
  Play play(SeedOf(request_.seed, number), shape, request_.broken);
  const std::string wrong = play.RunFirst();
  // What is broken may show at once; the states are to show it.
  if (!wrong.empty() && request_.broken == Broken::kNothing) Lost(place, wrong);
  Count(play.recording());
  seen_.clear();
  owed_ = 0;
  const double each = static_cast<double>(states) / static_cast<double>(play.recording().size());
  Walker walker(play, request_.broken);
  while (!enough() && walker.Next()) {
    ++totals_.points;
    owed_ = std::min(owed_ + each, kCarriedMax);
    place.point = walker.past().point();
    AtPoint(play, walker, place);
  }
}

// A plain one and a drawn one by turns. Which plain one is first is another at each point, so that
// where there is no time for all of them, each is seen somewhere.
void Enumerator::AtPoint(const Play& play, Walker& walker, Place& place) {
  const std::vector<Choice> systematic = walker.past().Systematic();
  Random random(SeedOf(request_.seed, place.recording, place.point) + 1);
  size_t plain = 0;
  for (int tries = 0; owed_ >= 1 && !enough() && tries < kTriesMax; ++tries) {
    if (plain < systematic.size()) {
      place.choice = systematic[(place.point + plain++) % systematic.size()];
      if (OneState(play, walker, place)) tries = 0;
      if (owed_ < 1 || enough()) return;
    }
    place.choice = walker.past().Draw(random);
    if (OneState(play, walker, place)) tries = 0;
  }
}

// False: it has been judged before.
bool Enumerator::OneState(const Play& play, Walker& walker, Place& place) {
  const Image image = walker.past().Show(place.choice);
  if (!seen_.insert(walker.Fingerprint(image)).second) return false;
  Begin(place);
  ++totals_.states;
  owed_ -= 1;
  const std::string wrong = walker.WhatIsWrong(image);
  if (!wrong.empty()) {
    Lost(place, wrong);
  } else if (request_.starts && totals_.states % kStartEvery == 0) {
    StartFrom(play, walker, image, place);
  }
  return true;
}

void Enumerator::StartFrom(const Play& play, const Walker& walker, const Image& image,
                           Place place) {
  const std::unique_ptr<Play> after = PlayAfter(request_, place.recording, play, walker, image);
  const std::string wrong = after->RunToTheEnd();
  ++totals_.started;
  if (!wrong.empty()) return Lost(place, wrong);
  Random random(SeedOf(request_.seed, place.recording, place.point) + 2);
  SecondCrashes(*after, place, random);
}

// More of them in what the start itself writes, before it delivers anything.
void Enumerator::SecondCrashes(const Play& play, Place place, Random& random) {
  std::set<size_t> points;
  const size_t events = play.recording().size();
  for (size_t i = 0; i < kSecondCrashes; ++i) {
    const double fraction = random.Fraction();
    points.insert(1 + static_cast<size_t>(fraction * fraction * static_cast<double>(events - 1)));
  }
  Walker walker(play, Broken::kNothing);
  for (const size_t point : points) {
    if (!walker.GoTo(point) || enough()) continue;
    place.second_point = point;
    std::vector<Choice> systematic = walker.past().Systematic();
    place.second_choice = random.Chance(0.4) ? systematic[random.Below(systematic.size())]
                                             : walker.past().Draw(random);
    const Image image = walker.past().Show(place.second_choice);
    if (!seen_.insert(walker.Fingerprint(image)).second) continue;
    Begin(place);
    ++totals_.states;
    ++totals_.second_crashes;
    owed_ -= 1;
    const std::string wrong = walker.WhatIsWrong(image);
    if (!wrong.empty()) Lost(place, wrong);
  }
}

// Of what a caller has typed.
bool Fits(const Choice& choice, const DiskPast& past) {
  return choice.parts.size() == past.Systematic().front().parts.size();
}

}  // namespace

// -------------------------------------------------------------------------------------------------

std::string Place::ToString() const {
  std::string text = absl::StrCat(recording, "/", point, "/", choice.ToString());
  if (second_point) absl::StrAppend(&text, "/", *second_point, "/", second_choice.ToString());
  return text;
}

std::optional<Place> Place::Parse(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, '/');
  Place place;
  if (words.size() != 3 && words.size() != 5) return std::nullopt;
  const std::optional<Choice> choice = Choice::Parse(words[2]);
  if (!absl::SimpleAtoi(words[0], &place.recording) || !absl::SimpleAtoi(words[1], &place.point) ||
      !choice) {
    return std::nullopt;
  }
  place.choice = *choice;
  if (words.size() == 3) return place;
  size_t second = 0;
  const std::optional<Choice> second_choice = Choice::Parse(words[4]);
  if (!absl::SimpleAtoi(words[3], &second) || !second_choice) return std::nullopt;
  place.second_point = second;
  place.second_choice = *second_choice;
  return place;
}

Totals Enumerate(const Request& request) {
  return Enumerator(request).Run();
}

std::string Replay(const Request& request, const Place& place) {
  Play play(SeedOf(request.seed, place.recording), DrawShape(request.seed, place.recording),
            request.broken);
  std::string wrong_before = play.RunFirst();
  if (!wrong_before.empty() && request.broken == Broken::kNothing) return wrong_before;
  Walker walker(play, request.broken);
  if (!walker.GoTo(place.point)) return "there is no such point";
  if (!Fits(place.choice, walker.past())) return "there is no such choice at this point";
  const Image image = walker.past().Show(place.choice);
  if (std::string wrong = walker.WhatIsWrong(image); !wrong.empty()) return wrong;
  const std::unique_ptr<Play> after = PlayAfter(request, place.recording, play, walker, image);
  if (std::string wrong = after->RunToTheEnd(); !wrong.empty()) return wrong;
  if (!place.second_point) return "";
  Walker second(*after, Broken::kNothing);
  if (!second.GoTo(*place.second_point)) return "there is no such second point";
  if (!Fits(place.second_choice, second.past())) return "there is no such second choice";
  return second.WhatIsWrong(second.past().Show(place.second_choice));
}

const std::string& AtWork() {
  return at_work;
}

}  // namespace sluice::crash
