#include "engine/smtp/client_state.h"

#include <chrono>
#include <cstddef>
#include <iterator>

#include "engine/base/check.h"

namespace sluice::smtp {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using enum ClientState;

constexpr uint16_t Bit(ClientState state) {
  return static_cast<uint16_t>(1u << static_cast<unsigned>(state));
}

template <typename... States>
constexpr uint16_t Any(States... states) {
  return static_cast<uint16_t>((Bit(states) | ...));
}

// Of kIdle and kTlsDecision the timeout is for the rest of a line that came unasked; of kBody for
// each piece that the kernel takes. STARTTLS, BDAT and RSET are not in RFC 5321's list: the first
// is waited for like DATA, the second like the final dot, and a server that is slow with the last
// is not worth waiting for (P5). QUIT's answer changes nothing.
constexpr ClientStateSpec kStates[] = {
    {kGreeting, "the greeting", minutes(5), Any(kEhlo, kClosed)},
    {kEhlo, "EHLO", minutes(5), Any(kHelo, kStartTls, kTlsDecision, kIdle, kClosed)},
    {kHelo, "HELO", minutes(5), Any(kTlsDecision, kIdle, kClosed)},
    {kStartTls, "STARTTLS", minutes(2), Any(kTlsDecision, kTlsHandshake, kClosed)},
    {kTlsDecision, "the decision on TLS", seconds(30), Any(kIdle, kQuit, kClosed)},
    {kTlsHandshake, "the TLS handshake", seconds(0), Any(kEhlo, kClosed)},
    {kIdle, "idle", seconds(30), Any(kMail, kQuit, kClosed)},
    {kMail, "MAIL FROM", minutes(5), Any(kRcpt, kReset, kClosed)},
    {kRcpt, "RCPT TO", minutes(5), Any(kRcpt, kData, kBdat, kReset, kClosed)},
    {kData, "DATA", minutes(2), Any(kBody, kDot, kReset, kClosed)},
    {kBody, "the message body", minutes(3), Any(kDot, kClosed)},
    {kDot, "the final dot", minutes(10), Any(kIdle, kMail, kReset, kClosed)},
    {kBdat, "BDAT", minutes(10), Any(kIdle, kReset, kClosed)},
    {kReset, "RSET", seconds(30), Any(kIdle, kClosed)},
    {kQuit, "QUIT", seconds(10), Any(kClosed)},
    {kClosed, "closed", seconds(0), 0},
};
static_assert(std::size(kStates) == static_cast<size_t>(kClosed) + 1);
static_assert([] {
  size_t index = 0;
  for (const ClientStateSpec& spec : kStates) {
    if (static_cast<size_t>(spec.state) != index++)
      return false;  // A row for each state, in order.
    if (spec.state == kClosed) continue;
    // Nothing is waited for without an end,
    const bool has_timeout = spec.timeout > Duration::zero();
    if (has_timeout == (spec.state == kTlsHandshake)) return false;
    // and a session may be lost anywhere.
    if ((spec.next & Bit(kClosed)) == 0) return false;
  }
  return true;
}());

}  // namespace

const ClientStateSpec& SpecOf(ClientState state) {
  const size_t index = static_cast<size_t>(state);
  CHECK(index < std::size(kStates));
  return kStates[index];
}

bool MayFollow(ClientState state, ClientState next) {
  return (SpecOf(state).next & Bit(next)) != 0;
}

}  // namespace sluice::smtp
