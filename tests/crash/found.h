// What recovery finds on a disk that a crash has left, in the words of the judge. All that this
// folder knows of engine/spool's recovery stands here.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/time.h"
#include "engine/spool/disk.h"
#include "tests/crash/disk_past.h"

namespace sluice::crash {

struct FoundRecipient {
  std::string address;  // In lower case.
  bool waits = false;
  bool operator==(const FoundRecipient&) const = default;
};

struct FoundMessage {
  uint64_t id = 0;
  std::string sender;  // Empty: a bounce.
  std::vector<FoundRecipient> recipients;
  std::string body;  // In wire form.
  bool operator==(const FoundMessage&) const = default;
};

// What counts against a limit on recipients.
struct FoundWindow {
  std::string destination;
  bool of_system = false;
  uint32_t reserved = 0;
  std::vector<std::pair<WallTime, uint32_t>> seen;
  bool operator==(const FoundWindow&) const = default;
};

struct Found {
  std::string error;  // Recovery refused; empty: it did not.
  std::vector<FoundMessage> messages;
  std::vector<FoundWindow> windows;
  uint64_t damaged_records = 0;
  bool operator==(const Found&) const = default;
};

Found FindOn(spool::Disk& disk);
// Recovery must change nothing: the image can only be read.
Found FindOn(const Image& image);

}  // namespace sluice::crash
