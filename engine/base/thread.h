// Starts a thread. Threads are made while the engine starts, and what it had promised before is on
// the disk: where the system gives none, the process ends with the reason and is to be started
// again.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <utility>

namespace sluice {

template <class Run>
std::thread StartThread(Run run) {
  try {
    return std::thread(std::move(run));
  } catch (const std::system_error& error) {  // How the library says EAGAIN.
    std::fprintf(stderr,
                 "sluice: no thread can be started: %s: raise the limit of processes and threads "
                 "(TasksMax, ulimit -u)\n",
                 error.code().message().c_str());
    std::_Exit(1);
  }
}

}  // namespace sluice
