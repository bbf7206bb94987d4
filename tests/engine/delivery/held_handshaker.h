// A handshaker that only keeps what is submitted, for the test to answer.

#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "tls/handshaker.h"

namespace sluice::delivery {

class HeldHandshaker : public tls::Handshaker {
 public:
  bool Submit(std::unique_ptr<tls::HandshakeJob> job) override {
    if (full) return false;
    jobs.push_back(std::move(job));
    return true;
  }
  void Poll(uint32_t, std::vector<std::unique_ptr<tls::HandshakeJob>>&) override {}
  tls::SessionCache& sessions() override { return sessions_; }

  bool full = false;
  std::deque<std::unique_ptr<tls::HandshakeJob>> jobs;

 private:
  tls::SessionCache sessions_;
};

}  // namespace sluice::delivery
