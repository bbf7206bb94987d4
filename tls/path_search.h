// Finds a good path from the peer's certificate to a trusted one, among whatever was sent beside it
// in whatever order, or says what is wrong with the first that there is.
//
// Depth first, trusted certificates before sent ones, and every alternative is tried: a
// cross-signed CA has several certificates, and one of them may have expired or lead nowhere.
// libcrypto's own search takes one way and does not come back from it, so it is given one whole
// path at a time.
//
// Work is bounded (certificate_limits.h): a peer may send a graph with more paths than time.

#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "tls/anchors.h"
#include "tls/path.h"

namespace sluice::tls {

// One search. What it is given must outlive it and the path that it returns.
class PathSearch {
 public:
  struct Result {
    Finding finding;
    Path path;  // The good one, or the one that the finding is about; empty where there is none.
  };

  // `sent[0]` is the peer's own.
  PathSearch(std::span<const Certificate> sent, const Anchors& anchors, EpochSeconds now);

  Result Find();

 private:
  enum class Pass {
    kSound,    // Only by certificates that are good in themselves.
    kExplain,  // By any: there was no good path, and the reason is wanted.
  };

  // Each answers whether the search is over: a path was found, or there is no work left.
  bool Extend(Pass pass);
  bool ExtendToAnchors(Pass pass);
  bool ExtendBySent(Pass pass);
  bool Judge(Pass pass);

  std::vector<const Certificate*> SentIssuers(Pass pass);
  bool MayFollow(const Certificate& issuer, bool trusted, Pass pass);
  bool IsSound(const Certificate& certificate, bool trusted);
  bool SignatureHolds(const Certificate& certificate, const Certificate& issuer);
  bool HasKeyInPath(const Certificate& certificate) const;
  // Whether there was as much left; takes it.
  bool Spend(int& left, int amount);
  Finding NoPath() const;

  std::span<const Certificate> sent_;
  const Anchors& anchors_;
  EpochSeconds now_;

  Path path_;
  Result result_;  // Of the first path that was judged, until there is a good one.
  bool judged_ = false;
  bool exhausted_ = false;
  int steps_left_;
  int signatures_left_;
  // What was found of a certificate (at its place), and of a signature: asked on many paths.
  std::map<std::pair<const Certificate*, bool>, bool> sound_;
  std::map<std::pair<const Certificate*, const Certificate*>, bool> signatures_;
};

}  // namespace sluice::tls
