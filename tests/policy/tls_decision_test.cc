// What each level of TLS does with what a receiver does: every cell of level, finding and
// certificate against a table that is written out here from the appliance's outcome matrix, with
// RFC 3207 for what may go on after a failed STARTTLS; then what must hold in all of them.

#include "policy/tls_decision.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

using enum TlsFinding;
using enum CertificateFinding;

constexpr TlsLevel kLevels[] = {TlsLevel::kOff,           TlsLevel::kOn,
                                TlsLevel::kRequired,      TlsLevel::kOnVerify,
                                TlsLevel::kRequireVerify, TlsLevel::kRequireVerifyHosted};

// The cells' letters. The matrix knows C and E alone; it opens a new session for what the old one
// could not go on with, and says which E are verified.
constexpr TlsAction C = TlsAction::kClear;
constexpr TlsAction R = TlsAction::kReconnectClear;
constexpr TlsAction E = TlsAction::kUnverified;
constexpr TlsAction V = TlsAction::kVerified;
constexpr TlsAction X = TlsAction::kNextHost;

struct Before {
  TlsFinding finding;
  TlsAction cells[6];  // In the order of kLevels.
  const char* reason;
  bool broken;  // Worth remembering.
};

// clang-format off
constexpr Before kWithoutTls[] = {
    //                  off on req on_v req_v req_h
    {kNoStartTls,       {C, C, X, C, X, X}, "no-starttls",      false},
    {kEhloRefused,      {C, C, X, C, X, X}, "no-starttls",      false},
    {kStartTlsRefused,  {C, C, X, C, X, X}, "starttls-refused", false},
    {kStartTlsGarbage,  {C, R, X, R, X, X}, "starttls-garbage", true},
    {kStartTlsSilence,  {C, R, X, R, X, X}, "starttls-timeout", true},
    {kStartTlsClosed,   {C, R, X, R, X, X}, "starttls-closed",  true},
    // After the 220.
    {kInjected,         {C, X, X, X, X, X}, "injected",         false},
    {kHandshakeFailed,  {C, X, X, X, X, X}, "handshake",        true},
    {kHandshakeTimeout, {C, X, X, X, X, X}, "timeout",          true},
    {kProtocol,         {C, X, X, X, X, X}, "protocol",         true},
    {kCipher,           {C, X, X, X, X, X}, "cipher",           true},
};

struct Established {
  CertificateFinding certificate;
  TlsAction cells[6];
  const char* reason;  // Where it is not verified.
};

constexpr Established kWithTls[] = {
    //                   off on req on_v req_v req_h
    {kVerifiedDomain,    {C, V, V, V, V, V}, ""},
    {kVerifiedMxHost,    {C, V, V, E, X, V}, "name"},
    {kVerifiedRouteHost, {C, V, V, E, X, V}, "name"},
    {kUntrusted,         {C, E, E, E, X, X}, "untrusted"},
    {kExpired,           {C, E, E, E, X, X}, "expired"},
    {kNotYetValid,       {C, E, E, E, X, X}, "not-yet-valid"},
    {kName,              {C, E, E, E, X, X}, "name"},
    {kWeakKey,           {C, E, E, E, X, X}, "weak-key"},
    {kMalformed,         {C, E, E, E, X, X}, "malformed"},
    {kBadChain,          {C, E, E, E, X, X}, "bad-chain"},
};
// clang-format on

std::string Cell(int level, TlsFinding finding, CertificateFinding certificate) {
  return std::string(TlsLevelName(kLevels[level])) + " finding " +
         std::to_string(static_cast<int>(finding)) + " certificate " +
         std::to_string(static_cast<int>(certificate));
}

// Off asks for nothing, and what is verified has nothing wrong.
std::string ExpectedReason(TlsLevel level, TlsAction action, const char* reason) {
  return level == TlsLevel::kOff || action == V ? "" : reason;
}

void ExpectCell(int level, TlsFinding finding, CertificateFinding certificate, TlsAction action,
                const char* reason) {
  const TlsDecision decision = DecideTls(kLevels[level], finding, certificate);
  EXPECT_EQ(decision.action, action) << Cell(level, finding, certificate);
  EXPECT_EQ(TlsReasonWord(decision.reason), ExpectedReason(kLevels[level], action, reason))
      << Cell(level, finding, certificate);
}

TEST(DecideTls, EveryCellWithoutTls) {
  std::set<TlsFinding> seen;
  for (const Before& row : kWithoutTls) {
    EXPECT_TRUE(seen.insert(row.finding).second);
    for (int level = 0; level < kTlsLevels; ++level) {
      // Whatever stands in the certificate's place: there is none.
      for (const Established& other : kWithTls) {
        ExpectCell(level, row.finding, other.certificate, row.cells[level], row.reason);
      }
      EXPECT_EQ(DecideTls(kLevels[level], row.finding).action, row.cells[level]);
    }
  }
  EXPECT_EQ(seen.count(kEstablished), 0u);
  EXPECT_EQ(seen.size() + 1, static_cast<size_t>(kTlsFindings));
}

TEST(DecideTls, EveryCellWithTls) {
  std::set<CertificateFinding> seen;
  for (const Established& row : kWithTls) {
    EXPECT_TRUE(seen.insert(row.certificate).second);
    for (int level = 0; level < kTlsLevels; ++level) {
      ExpectCell(level, kEstablished, row.certificate, row.cells[level], row.reason);
    }
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kCertificateFindings));
}

TEST(DecideTls, ACertificateThatNobodyLookedAtIsNotVerified) {
  EXPECT_EQ(DecideTls(TlsLevel::kOn, kEstablished).action, E);
  EXPECT_EQ(DecideTls(TlsLevel::kRequireVerifyHosted, kEstablished).action, X);
  EXPECT_EQ(TlsDecision{}.action, X);
}

// What must hold in every cell, whatever the table says.
class EveryCell : public ::testing::Test {
 protected:
  struct Place {
    TlsFinding finding;
    CertificateFinding certificate;
  };

  static std::vector<Place> Places() {
    std::vector<Place> places;
    for (int finding = 0; finding < kTlsFindings; ++finding) {
      for (int certificate = 0; certificate < kCertificateFindings; ++certificate) {
        places.push_back(
            {static_cast<TlsFinding>(finding), static_cast<CertificateFinding>(certificate)});
      }
    }
    return places;
  }

  static TlsAction Action(TlsLevel level, const Place& place) {
    return DecideTls(level, place.finding, place.certificate).action;
  }

  static bool IsClear(TlsAction action) { return action == C || action == R; }
};

TEST_F(EveryCell, ALevelThatRequiresTlsNeverSendsInClear) {
  for (const TlsLevel level :
       {TlsLevel::kRequired, TlsLevel::kRequireVerify, TlsLevel::kRequireVerifyHosted}) {
    for (const Place& place : Places()) EXPECT_FALSE(IsClear(Action(level, place)));
  }
}

TEST_F(EveryCell, AfterThe220NothingGoesOnInClearButWhatNeverAsked) {
  const std::set<TlsFinding> before = {kNoStartTls,      kEhloRefused,     kStartTlsRefused,
                                       kStartTlsGarbage, kStartTlsSilence, kStartTlsClosed};
  for (const TlsLevel level : kLevels) {
    for (const Place& place : Places()) {
      if (before.count(place.finding) > 0) continue;
      EXPECT_EQ(IsClear(Action(level, place)), level == TlsLevel::kOff);
    }
  }
}

// A session goes on only where its dialogue is whole.
TEST_F(EveryCell, ABrokenSessionDoesNotGoOn) {
  for (const TlsLevel level : kLevels) {
    if (level == TlsLevel::kOff) continue;
    for (const Place& place : Places()) {
      if (!IsBrokenTls(place.finding) && place.finding != kInjected) continue;
      const TlsAction action = Action(level, place);
      EXPECT_TRUE(action == R || action == X);
    }
  }
}

TEST_F(EveryCell, AWeakerLevelNeverRefusesWhatAStrongerOneAccepts) {
  // Weaker, stronger. Hosted accepts more names than Verify: its number is higher all the same.
  const std::pair<TlsLevel, TlsLevel> kPairs[] = {
      {TlsLevel::kOff, TlsLevel::kOn},
      {TlsLevel::kOn, TlsLevel::kOnVerify},
      {TlsLevel::kOnVerify, TlsLevel::kOn},  // They send the same.
      {TlsLevel::kOn, TlsLevel::kRequired},
      {TlsLevel::kOnVerify, TlsLevel::kRequireVerify},
      {TlsLevel::kRequired, TlsLevel::kRequireVerifyHosted},
      {TlsLevel::kRequireVerifyHosted, TlsLevel::kRequireVerify},
  };
  for (const auto& [weaker, stronger] : kPairs) {
    for (const Place& place : Places()) {
      if (Action(stronger, place) == X) continue;
      EXPECT_NE(Action(weaker, place), X)
          << TlsLevelName(weaker) << " below " << TlsLevelName(stronger);
    }
  }
}

TEST_F(EveryCell, EncryptedIsOnlyWhatWasEstablished) {
  for (const TlsLevel level : kLevels) {
    for (const Place& place : Places()) {
      const TlsAction action = Action(level, place);
      EXPECT_TRUE(place.finding == kEstablished || (action != E && action != V));
    }
  }
}

TEST_F(EveryCell, WhatSendsNothingSaysWhy) {
  for (const TlsLevel level : kLevels) {
    for (const Place& place : Places()) {
      const TlsDecision decision = DecideTls(level, place.finding, place.certificate);
      if (decision.action != X) continue;
      EXPECT_NE(decision.reason, TlsReason::kNone);
      EXPECT_EQ(TlsResult(decision), TlsReasonWord(decision.reason));
    }
  }
}

TEST(MayStartTls, AMemoryOfFailureStopsOnlyWhatPrefersTls) {
  const struct {
    TlsLevel level;
    bool may, may_after_failure;
  } kRows[] = {
      {TlsLevel::kOff, false, false},         {TlsLevel::kOn, true, false},
      {TlsLevel::kRequired, true, true},      {TlsLevel::kOnVerify, true, false},
      {TlsLevel::kRequireVerify, true, true}, {TlsLevel::kRequireVerifyHosted, true, true},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(MayStartTls(row.level), row.may) << TlsLevelName(row.level);
    EXPECT_EQ(MayStartTls(row.level, true), row.may_after_failure) << TlsLevelName(row.level);
  }
}

TEST(IsBrokenTls, WhatCostsAConnectionAndIsTheHostsOwn) {
  for (const Before& row : kWithoutTls) {
    EXPECT_EQ(IsBrokenTls(row.finding), row.broken) << row.reason;
  }
  EXPECT_FALSE(IsBrokenTls(kEstablished));
}

TEST(TlsReasonWord, AreTheFixedListAndDistinct) {
  const std::vector<std::string> expected = {"",
                                             "no-starttls",
                                             "starttls-refused",
                                             "starttls-garbage",
                                             "starttls-timeout",
                                             "starttls-closed",
                                             "injected",
                                             "handshake",
                                             "timeout",
                                             "protocol",
                                             "cipher",
                                             "untrusted",
                                             "expired",
                                             "not-yet-valid",
                                             "name",
                                             "weak-key",
                                             "malformed",
                                             "bad-chain"};
  std::vector<std::string> words;
  for (int reason = 0; reason < kTlsReasons; ++reason) {
    words.emplace_back(TlsReasonWord(static_cast<TlsReason>(reason)));
  }
  EXPECT_EQ(words, expected);
}

TEST(TlsResult, HowTheMessageTravelledOrWhyItDidNot) {
  const TlsReason name = TlsReason::kName;
  EXPECT_EQ(TlsResult({C, TlsReason::kNone}), "none");
  EXPECT_EQ(TlsResult({C, TlsReason::kStartTlsRefused}), "none");
  EXPECT_EQ(TlsResult({R, TlsReason::kStartTlsClosed}), "none");
  EXPECT_EQ(TlsResult({E, name}), "unverified");
  EXPECT_EQ(TlsResult({V, TlsReason::kNone}), "verified");
  EXPECT_EQ(TlsResult({X, name}), "name");
  EXPECT_EQ(TlsResult({X, TlsReason::kNoStartTls}), "no-starttls");
}

}  // namespace
}  // namespace sluice::policy
