// What a power cut, or a sync that fails, takes away: writes and changes of names that have not
// been synced. Before each the old state is kept; losing it puts that back.
//
// Any thread. All of the process dies, or its log has failed, when something is lost: nobody goes
// on with what was.

#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace sluice::faults {

class Unsynced {
 public:
  static Unsynced& OfProcess();

  // Contents, by descriptor.
  void WillWrite(int descriptor, uint64_t offset, uint64_t bytes);
  void Synced(int descriptor);
  void Lose(int descriptor);

  // Names. One that is removed is to be renamed to `kept`, so that it can come back.
  void Created(const std::string& path);
  void Renamed(const std::string& from, const std::string& to);
  void Removed(const std::string& path, const std::string& kept);
  void FolderSynced(const std::string& folder);

  void LoseAll();

 private:
  struct Old {
    uint64_t offset = 0;
    std::string bytes;
  };
  enum class Change : uint8_t { kCreated, kRenamed, kRemoved };
  struct Name {
    Change change;
    std::string now;     // Where it is.
    std::string before;  // Where it was.
  };

  void LoseContents(int descriptor);
  void LoseNames();

  std::mutex mutex_;
  std::map<int, std::vector<Old>> written_;
  std::vector<Name> names_;
};

}  // namespace sluice::faults
