// A text that many settings share: the name of a certificate, of a file, of a profile.
//
// As large as a pointer and compared as one. The text itself is kept once and until the process
// ends: names are what operators write into tables, a few, and the same ones again in the next
// table. Making a Name takes a lock; copying, reading and comparing one takes none, and any thread
// may.

#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace sluice::policy {

class Name {
 public:
  Name();                        // The empty one.
  Name(absl::string_view text);  // Not explicit: it stands where a string would,
  Name(const std::string& text);
  Name(const char* text);
  operator const std::string&() const { return *text_; }  // in both directions.

  const std::string& str() const { return *text_; }
  bool empty() const { return text_->empty(); }
  size_t size() const { return text_->size(); }

  friend bool operator==(Name a, Name b) { return a.text_ == b.text_; }
  friend bool operator==(Name a, absl::string_view b) { return *a.text_ == b; }
  friend bool operator==(Name a, const std::string& b) { return *a.text_ == b; }
  friend bool operator==(Name a, const char* b) { return *a.text_ == b; }

  template <typename H>
  friend H AbslHashValue(H state, Name name) {
    return H::combine(std::move(state), name.text_);
  }

 private:
  const std::string* text_;  // Never null.
};

}  // namespace sluice::policy
