// Where a dialogue's prompts go and its answers come from, a line at a time: the seam between the
// questions and a terminal (terminal.h), a pipe, or a test.

#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice::tools {

struct Prompt {
  std::string text;                // The beginning of the line that is answered.
  std::vector<std::string> words;  // Completed where lines are edited.
  bool is_file = false;            // Names of files are completed instead.
};

struct Line {
  enum class Kind : uint8_t {
    kText,
    kEnd,        // No more answers: Ctrl-D, or the end of the file.
    kInterrupt,  // Ctrl-C.
  };
  Kind kind = Kind::kText;
  std::string text;
};

class Console {
 public:
  virtual ~Console() = default;

  // Whole lines, each ended.
  virtual void Write(absl::string_view text) = 0;

  // Writes the prompt and takes the line that answers it.
  virtual Line Ask(const Prompt& prompt) = 0;

  // The answers were there before the questions: nobody reads what is said to a wrong one.
  virtual bool scripted() const = 0;
};

// Lines as they come, not edited. Ctrl-C ends the program, as it ends any.
class StreamConsole : public Console {
 public:
  // `scripted`: answers are no terminal's, so they are written behind their prompts for what is
  // written to read as the dialogue it was.
  StreamConsole(std::istream& in, std::ostream& out, bool scripted)
      : in_(in), out_(out), scripted_(scripted) {}

  void Write(absl::string_view text) override;
  Line Ask(const Prompt& prompt) override;
  bool scripted() const override { return scripted_; }

 private:
  std::istream& in_;
  std::ostream& out_;
  const bool scripted_;
};

}  // namespace sluice::tools
