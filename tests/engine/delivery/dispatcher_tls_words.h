// The words of tests of the delivering side under TLS: a dispatcher whose level is not off, and a
// handshaker that the test answers for. No TLS is spoken: what comes of a flight is what the test
// says.

#pragma once

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/delivery/dispatcher_words.h"
#include "tests/engine/delivery/held_handshaker.h"
#include "tls/demo_certificate.h"

namespace sluice::delivery {

class DispatcherTlsTest : public DispatcherTest {
 protected:
  static policy::ControlsEntry At(policy::TlsLevel level, bool alerts = true) {
    policy::ControlsEntry entry;
    entry.tls.level = level;
    entry.tls.alert_where_required_fails = alerts;
    return entry;
  }

  void StartTls(const policy::ControlsEntry& controls) {
    dispatcher_ = std::make_unique<Dispatcher>(options_, network_, resolver_, &handshaker_, timers_,
                                               random_, TablesOf(controls));
  }
  void ReloadTls(const policy::ControlsEntry& controls) {
    dispatcher_->UseTables(TablesOf(controls));
    Turn();
  }

  // It offers STARTTLS and answers it.
  void Offers(absl::string_view ip = kFirst, absl::string_view answer = "220 2.0.0 go ahead") {
    host(ip).answers["EHLO"] = "250-mx.example.com\r\n250-STARTTLS\r\n250 PIPELINING";
    host(ip).answers["STARTTLS"] = std::string(answer);
  }

  // The flights that were submitted come back and need more.
  void FlightsNeedMore() {
    for (auto& job : std::exchange(handshaker_.jobs, {})) {
      job->input.clear();
      dispatcher_->OnHandshake(std::move(job), now_);
    }
    Turn();
  }
  // A flight is with the test, and comes back.
  std::unique_ptr<tls::HandshakeJob> TakeJob() {
    auto job = std::move(handshaker_.jobs.front());
    handshaker_.jobs.pop_front();
    return job;
  }
  void Return(std::unique_ptr<tls::HandshakeJob> job) {
    dispatcher_->OnHandshake(std::move(job), now_);
    Turn();
  }
  void HostSays(absl::string_view bytes) {
    network_.Says(network_.To(kFirst).back(), bytes);
    Turn();
  }

  std::vector<TlsAlert> Alerts() {
    std::vector<TlsAlert> alerts;
    dispatcher_->TakeAlerts(alerts);
    return alerts;
  }

  HeldHandshaker handshaker_;

 private:
  Dispatcher::Tables TablesOf(const policy::ControlsEntry& controls) {
    tables_.emplace_back(std::vector<policy::ControlsEntry>{controls}, tables_.size() + 1);
    static const std::shared_ptr<const tls::Environment> environment = LoadForAll(now_.wall);
    return {.controls = &tables_.back(), .tls = environment};
  }
  // For every level. Whom it trusts is nobody that comes up.
  static std::shared_ptr<const tls::Environment> LoadForAll(WallTime now) {
    const std::string trusted = absl::StrCat(testing::TempDir(), "trusted-", getpid(), ".pem");
    std::ofstream(trusted) << tls::MakeDemoCertificate(kHostname, now)->certificate_pem;
    std::vector<policy::TlsControls> used(policy::kTlsLevels);
    for (int i = 0; i < policy::kTlsLevels; ++i) used[i].level = policy::TlsLevel(i);
    tls::Environment::Loaded loaded =
        tls::Environment::Load({.hostname = std::string(kHostname), .ca_file = trusted}, used, now);
    std::remove(trusted.c_str());
    EXPECT_TRUE(loaded.errors.empty());
    return loaded.environment;
  }
};

}  // namespace sluice::delivery
