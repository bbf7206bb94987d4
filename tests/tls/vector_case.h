// One question of a public certificate suite, in the form in which we can be asked it.

#pragma once

#include <string>
#include <vector>

#include "engine/base/time.h"
#include "tls/identity.h"
#include "tls/verify.h"

namespace sluice::tls {

struct VectorCase {
  std::string suite;
  std::string id;
  Chain chain;
  std::string anchors_pem;
  WallTime now{};
  References references;
  bool asks_name = false;      // Else only the path is in question.
  bool expected = false;       // Accepted.
  std::string not_applicable;  // Why we can't be asked it; empty where we can.
};

// Each reads its suite from its folder; a folder that doesn't hold it gives no case.
std::vector<VectorCase> ReadLimbo(const std::string& folder);
std::vector<VectorCase> ReadBetterTls(const std::string& folder);
std::vector<VectorCase> ReadBoringSsl(const std::string& folder);
std::vector<VectorCase> ReadPkits(const std::string& folder);

}  // namespace sluice::tls
