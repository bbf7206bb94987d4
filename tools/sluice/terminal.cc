#include "tools/sluice/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>

// After <cstdio>, whose FILE it takes for granted.
#include <readline/history.h>
#include <readline/readline.h>

#include "absl/strings/match.h"
#include "engine/base/check.h"

namespace sluice::tools {
namespace {

// What readline calls back knows of nobody: the line being asked for.
struct Asked {
  const Prompt* prompt = nullptr;
  std::optional<Line> line;
};
Asked asked;

// Readline asks for the first word that begins as `text` does, then for the next ones, until there
// is none.
char* NextWord(const char* text, int state) {
  static size_t next = 0;
  if (state == 0) next = 0;
  while (next < asked.prompt->words.size()) {
    const std::string& word = asked.prompt->words[next++];
    if (absl::StartsWithIgnoreCase(word, text)) return strdup(word.c_str());
  }
  return nullptr;
}

char** Complete(const char* text, int, int) {
  if (!asked.prompt->is_file) rl_completion_append_character = '\0';
  rl_attempted_completion_over = asked.prompt->is_file ? 0 : 1;
  return asked.prompt->is_file ? nullptr : rl_completion_matches(text, NextWord);
}

void Take(char* text) {
  rl_callback_handler_remove();
  if (text == nullptr) {
    asked.line = Line{.kind = Line::Kind::kEnd};
    return;
  }
  asked.line = Line{.text = text};
  const HIST_ENTRY* last = history_length > 0 ? history_get(history_length) : nullptr;
  const bool again = last != nullptr && asked.line->text == last->line;
  if (!asked.line->text.empty() && !again) add_history(text);
  free(text);
}

// The signals that end or stop a program whose terminal is not as it was found, as events beside
// its keys: none comes between a look and a wait, and none is handled where readline is at work.
class TerminalSignals {
 public:
  TerminalSignals() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) sigaddset(&set_, signal);
    CHECK(sigprocmask(SIG_BLOCK, &set_, &before_) == 0);
    descriptor_ = signalfd(-1, &set_, SFD_CLOEXEC);
    CHECK(descriptor_ >= 0);
  }
  ~TerminalSignals() {
    close(descriptor_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  TerminalSignals(const TerminalSignals&) = delete;
  TerminalSignals& operator=(const TerminalSignals&) = delete;

  // The signal that came, or 0: a key did.
  int Wait() const {
    pollfd events[] = {{.fd = descriptor_, .events = POLLIN},
                       {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(events, 2, -1) < 0) CHECK(errno == EINTR);
    if ((events[0].revents & POLLIN) == 0) return 0;
    signalfd_siginfo came = {};
    CHECK(read(descriptor_, &came, sizeof came) == sizeof came);
    return static_cast<int>(came.ssi_signo);
  }

  // Lets it do what it does to any program, with the terminal as it was found. Returns when a
  // stopped program goes on.
  void LetAct(int signal) const {
    rl_deprep_terminal();
    raise(signal);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
    sigprocmask(SIG_BLOCK, &set_, nullptr);
    rl_prep_terminal(1);
    rl_forced_update_display();
  }

 private:
  sigset_t set_;
  sigset_t before_;
  int descriptor_ = -1;
};

void Interrupt() {
  rl_free_line_state();
  rl_callback_sigcleanup();
  rl_callback_handler_remove();
  std::fputs("^C\n", stdout);
  asked.line = Line{.kind = Line::Kind::kInterrupt};
}

}  // namespace

TerminalConsole::TerminalConsole() {
  rl_readline_name = "sluice";
  rl_catch_signals = 0;
  rl_attempted_completion_function = Complete;
  rl_variable_bind("completion-ignore-case", "on");
  // Several lines pasted at once are several answers, not one.
  rl_variable_bind("enable-bracketed-paste", "off");
}

void TerminalConsole::Write(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

Line TerminalConsole::Ask(const Prompt& prompt) {
  // Words may have blanks in them.
  static char no_breaks[] = "";
  rl_completer_word_break_characters = prompt.is_file ? rl_basic_word_break_characters : no_breaks;
  asked = {.prompt = &prompt};
  const TerminalSignals signals;
  rl_callback_handler_install(prompt.text.c_str(), Take);
  while (!asked.line) {
    const int signal = signals.Wait();
    if (signal == SIGINT) {
      Interrupt();
    } else if (signal != 0) {
      signals.LetAct(signal);
    } else {
      rl_callback_read_char();
    }
  }
  if (asked.line->kind == Line::Kind::kEnd) Write("\n");
  return *std::move(asked.line);
}

std::unique_ptr<Console> OpenConsole() {
  const bool in_is_terminal = isatty(STDIN_FILENO) != 0;
  if (in_is_terminal && isatty(STDOUT_FILENO) != 0) return std::make_unique<TerminalConsole>();
  return std::make_unique<StreamConsole>(std::cin, std::cout, !in_is_terminal);
}

}  // namespace sluice::tools
