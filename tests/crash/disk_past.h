// What the disk may hold if the power goes at a point of a recording.
//
// A point is a number of events that have happened. Then
//   what a sync that came back covers is there;
//   of each other write any of its 512-byte sectors is there, in any combination; a sector that is
//     not is as it was before;
//   a call that changes names and is under way has happened or not; a file that is being created
//     may be there empty, or with a part of its size;
//   a call that came back has happened (disk.h: the folder has been synced).
//
// A choice is one of all these, and has a text form from which it is made again.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/crash/recording.h"

namespace sluice::crash {

// What is broken on purpose, so that the judge has something to find.
enum class Broken : uint8_t {
  kNothing,
  kSync,     // A sync comes back and has done nothing.
  kPromise,  // Promises are given before the sync.
  kRecycle,  // A change of a name has come back and is not on the disk yet.
};

// A disk to look at. Holds only while its DiskPast stands where it stood.
struct Image {
  struct File {
    spool::SegmentId id;
    std::span<const std::byte> bytes;
  };
  std::vector<File> files;
  std::deque<std::vector<std::byte>> changed;  // Of files that hold a part of a write.
  uint64_t hash = 0;                           // Of names and bytes.
};

struct Choice {
  // Which sectors of one write are there.
  struct Part {
    // '-' none, '+' all, 'p' the first N, 's' all but the first N, 'o' only sector N, 'b' all but
    // sector N, 'x' drawn from seed N.
    char kind = '-';
    uint64_t number = 0;
  };
  uint32_t call = 0;        // Of the outcomes of the call that is under way.
  uint32_t unnamed = 0;     // Broken::kRecycle: so many of the last changes of names are not there.
  std::vector<Part> parts;  // Of each write that is not synced, in the order of the recording.

  std::string ToString() const;  // "1,0:+,-,x17"
  static std::optional<Choice> Parse(const std::string& text);
};

class DiskPast {
 public:
  static constexpr size_t kSectorBytes = 512;

  DiskPast(const Recording& recording, Broken broken) : recording_(recording), broken_(broken) {}

  // One more event has happened.
  void Advance();
  size_t point() const { return point_; }
  // False amid the files of a kContent: no disk was ever like that.
  bool IsPoint() const;

  // The plain choices: none of the writes, all, each alone, all but each; with none, each outcome
  // of the call that is under way.
  std::vector<Choice> Systematic() const;
  Choice Draw(Random& random) const;

  Image Show(const Choice& choice) const;

 private:
  struct File {
    spool::SegmentId id;
    std::vector<std::byte> bytes;
    mutable std::optional<uint64_t> hash;
  };
  struct Rename {
    uint32_t file;
    spool::SegmentId from;
  };

  uint32_t Outcomes() const;
  void OnSync(const Event& event);
  void ShowWrites(const Choice& choice, Image& image,
                  std::map<uint32_t, std::vector<std::byte>*>& changed) const;

  const Recording& recording_;
  const Broken broken_;
  size_t point_ = 0;
  std::map<uint32_t, File> files_;
  std::vector<size_t> unsynced_;
  std::vector<Rename> renames_;  // Broken::kRecycle.
};

}  // namespace sluice::crash
