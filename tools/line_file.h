// A file of lines that one program appends to and another compares: the sink's received recipients
// and the load's ledger. What Flush has written, a kill of the process does not lose; it is not
// synced. Without a path everything is dropped.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::tools {

class LineFile {
 public:
  LineFile() = default;
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  absl::Status Open(const std::string& path);  // Empties it. "" is no file.
  bool open() const { return descriptor_ >= 0; }

  // A line goes out in pieces; the caller ends it with '\n'.
  void Append(absl::string_view text) {
    if (open()) pending_.append(text.data(), text.size());
  }

  // Blocking. After a failure, every further call says the same and nothing more is written.
  absl::Status Flush();
  absl::Status FlushIfLarge() { return pending_.size() < kLargeBytes ? failure_ : Flush(); }

 private:
  static constexpr size_t kLargeBytes = 64 << 10;

  std::string path_;
  std::string pending_;
  int descriptor_ = -1;
  absl::Status failure_;
};

// A report and the like: the whole file at once.
absl::Status WriteFile(const std::string& path, absl::string_view contents);

}  // namespace sluice::tools
