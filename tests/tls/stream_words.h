// Two streams and two buffers in one thread.

#pragma once

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"
#include "tls/stream.h"

namespace sluice::tls {

inline std::shared_ptr<const Context> ServerContextOf(const Made& made,
                                                      Version least = Version::kTls12) {
  absl::StatusOr<std::shared_ptr<const Context>> context =
      Context::ForServers({.least = least, .certificate = made.Pem(), .key = KeyPem(made.key)});
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

inline std::shared_ptr<const Context> ClientContext(Version least = Version::kTls12) {
  absl::StatusOr<std::shared_ptr<const Context>> context = Context::ForClients({.least = least});
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

inline std::string Taken(Stream& stream) {
  std::string output;
  stream.TakeOutput(output);
  return output;
}

struct Pair {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
  Step client_step = Step::kNeedsInput;
  Step server_step = Step::kNeedsInput;

  // Carries flights over, in pieces of `piece_bytes`, until neither side waits for the other.
  void Shake(size_t piece_bytes = SIZE_MAX) {
    for (int flights = 0; flights < 10; ++flights) {
      Advance(*client, client_step, Taken(*server), piece_bytes);
      Advance(*server, server_step, Taken(*client), piece_bytes);
    }
  }

  static void Advance(Stream& stream, Step& step, const std::string& input, size_t piece_bytes) {
    for (size_t at = 0; at < input.size(); at += std::min(piece_bytes, input.size() - at)) {
      stream.Feed(absl::string_view(input).substr(at, piece_bytes));
      if (step == Step::kNeedsInput) step = stream.Handshake();
    }
    if (input.empty() && step == Step::kNeedsInput) step = stream.Handshake();
  }
};

}  // namespace sluice::tls
