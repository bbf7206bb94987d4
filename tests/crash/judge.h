// Compares what recovery found after a crash with what was known when it came.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/crash/found.h"
#include "tests/crash/known.h"

namespace sluice::crash {

class Judge {
 public:
  // Lent: what was sent, by number.
  Judge(const std::vector<sim::MessageFacts>& facts, std::vector<KnownWindow> windows)
      : facts_(facts), windows_(std::move(windows)) {}

  // What is wrong; empty: nothing is.
  //   Each promised message is there with each recipient of which the engine has not said anything
  //   final, and with its body.
  //   No recipient waits of which it has said so, in an event that was released.
  //   Who neither waits nor was delivered to is reported: the bounce was taken, or is there.
  //   Nothing is there that was never sent, or is a bounce about nothing.
  //   A window counts at least what its receiver has seen.
  //   No record counts as damaged.
  std::string WhatIsWrong(const Found& found, const Known& known, WallTime when);

 private:
  std::string Message(const FoundMessage& found, const Known& known);
  std::string Bounce(const FoundMessage& found, const Known& known);
  std::string Missing(const Known& known) const;
  std::string Windows(const Found& found, WallTime when) const;
  const std::string& WireOf(size_t number);
  const sim::MessageFacts* Find(const std::string& sender, const Known& known) const;

  const std::vector<sim::MessageFacts>& facts_;
  const std::vector<KnownWindow> windows_;
  std::vector<std::string> wires_;  // By number; empty: not made yet.

  // Of the state that is judged: by message and recipient.
  std::vector<std::vector<bool>> waits_;
  std::vector<std::vector<bool>> reported_;
};

}  // namespace sluice::crash
