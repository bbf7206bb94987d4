// Makes probe messages cheaply: the text of all sizes is made once, with its hash; each message
// then copies a header section of some 250 bytes and writes its id into it.
//
// Every sixteenth line of a body begins with a dot, so that stuffing is always at work.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "tools/probe_message.h"

namespace sluice::tools {

// In the form in which DATA carries it. The header is its owner's, the rest is lent by the maker.
struct MadeMessage {
  std::string header;      // With the empty line.
  absl::string_view body;  // Stuffed.
  absl::string_view end;   // The end of the last line, and the final dot.
  uint64_t bytes = 0;      // Of the whole, without stuffing and the final dot.
};

class MessageMaker {
 public:
  struct Options {
    std::vector<uint64_t> sizes_bytes;  // Of whole messages; at least kMessageBytesMin.
    std::string sender;                 // For From; empty: postmaster.
    WallTime now;                       // For Date.
  };

  explicit MessageMaker(const Options& options);

  // `size_index` is of sizes_bytes. Reuses what `message` has.
  void Make(const ProbeId& id, size_t size_index, MadeMessage& message) const;

 private:
  struct Model {
    std::string header;
    size_t probe_id_at = 0;  // Where the ids stand in it.
    size_t message_id_at = 0;
    size_t wire_bytes = 0;  // Of text_, stuffed.
    uint64_t bytes = 0;
  };

  Model MakeModel(const Options& options, uint64_t bytes) const;

  std::string text_;        // The longest body, stuffed; every shorter one is its front.
  std::string plain_text_;  // Without stuffing, while the models are made.
  std::vector<Model> models_;
};

}  // namespace sluice::tools
