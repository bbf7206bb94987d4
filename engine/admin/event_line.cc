#include "engine/admin/event_line.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>

#include "engine/base/check.h"

namespace sluice::admin {
namespace {

using delivery::Event;
using delivery::EventType;

// Bytes that stand for themselves in a JSON string: printable ASCII but for the quote and
// backslash.
constexpr std::array<bool, 256> MakePlain() {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x7f; ++byte) plain[byte] = byte != '"' && byte != '\\';
  return plain;
}
constexpr std::array<bool, 256> kPlain = MakePlain();

uint8_t At(absl::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

void AppendEscape(uint32_t code_point, std::string& out) {
  CHECK(code_point <= 0xffff);
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(code_point >> shift) & 0xf];
}

void AppendAscii(char byte, std::string& out) {
  switch (byte) {
    case '"':
    case '\\':
      out += '\\';
      out += byte;
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
  }
  AppendEscape(static_cast<uint8_t>(byte), out);
}

// The length of the UTF-8 sequence at the front of `text`, and its code point; 0 when it is not
// valid. The bounds of the second byte keep out overlong forms, surrogates and what is beyond
// U+10FFFF (RFC 3629 4).
size_t DecodeUtf8(absl::string_view text, uint32_t& code_point) {
  const uint8_t first = At(text, 0);
  size_t length = 0;
  if (first >= 0xc2 && first <= 0xdf) length = 2;
  if (first >= 0xe0 && first <= 0xef) length = 3;
  if (first >= 0xf0 && first <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;

  const uint8_t second_least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t second_most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (At(text, 1) < second_least || At(text, 1) > second_most) return 0;
  code_point = first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((At(text, i) & 0xc0) != 0x80) return 0;
    code_point = code_point << 6 | (At(text, i) & 0x3f);
  }
  return length;
}

// Appends what stands at the front of `text`, which is not plain; returns how many bytes it took.
size_t AppendSpecial(absl::string_view text, std::string& out) {
  if (At(text, 0) < 0x80) {
    AppendAscii(text[0], out);
    return 1;
  }
  uint32_t code_point = 0;
  const size_t length = DecodeUtf8(text, code_point);
  if (length == 0) {
    AppendEscape(At(text, 0), out);
    return 1;
  }
  const bool c1 = code_point >= 0x80 && code_point <= 0x9f;
  const bool separator = code_point == 0x2028 || code_point == 0x2029;
  if (c1 || separator) {
    AppendEscape(code_point, out);
  } else {
    out.append(text.data(), length);
  }
  return length;
}

template <class Number>
void AppendNumber(Number number, std::string& out) {
  char digits[24];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), number);
  out.append(digits, end.ptr);
}

// Seconds with six decimals, without a detour through floating point.
void AppendSeconds(Duration duration, std::string& out) {
  const int64_t us = duration < Duration::zero()
                         ? 0
                         : std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  AppendNumber(us / 1'000'000, out);
  char fraction[] = ".000000";
  int64_t rest = us % 1'000'000;
  for (int i = 6; i > 0; --i, rest /= 10) fraction[i] = static_cast<char>('0' + rest % 10);
  out.append(fraction, 7);
}

int64_t UnixSeconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

absl::string_view TypeName(EventType type) {
  switch (type) {
    case EventType::kReception:
      return "Reception";
    case EventType::kDelivery:
      return "Delivery";
    case EventType::kTransientFailure:
      return "TransientFailure";
    case EventType::kBounce:
      return "Bounce";
    case EventType::kExpiration:
      return "Expiration";
  }
  CHECK(!"an event type without a name");
  return "";
}

void AppendText(absl::string_view key, absl::string_view value, std::string& out) {
  out.append(key.data(), key.size());
  AppendJsonString(value, out);
}

void AppendResponse(const smtp::Reply& reply, absl::string_view command, std::string& out) {
  out += ",\"response\":{\"code\":";
  AppendNumber(reply.code, out);
  if (reply.enhanced) {
    out += ",\"enhanced_code\":{\"class\":";
    AppendNumber(reply.enhanced.status_class, out);
    out += ",\"subject\":";
    AppendNumber(reply.enhanced.subject, out);
    out += ",\"detail\":";
    AppendNumber(reply.enhanced.detail, out);
    out += '}';
  }
  AppendText(",\"content\":", reply.text, out);
  AppendText(",\"command\":", command, out);
  out += '}';
}

void AppendStages(const delivery::StageTimes& stages, std::string& out) {
  out += ",\"stages\":{\"queue\":";
  AppendSeconds(stages.queue, out);
  out += ",\"dns\":";
  AppendSeconds(stages.dns, out);
  out += ",\"connect\":";
  AppendSeconds(stages.connect, out);
  out += ",\"tls\":";
  AppendSeconds(stages.tls, out);
  out += ",\"envelope\":";
  AppendSeconds(stages.envelope, out);
  out += ",\"data\":";
  AppendSeconds(stages.data, out);
  out += '}';
}

void AppendTls(const delivery::TlsOutcome& tls, std::string& out) {
  AppendText(",\"tls_level\":", policy::TlsLevelName(tls.level), out);
  AppendText(",\"tls_result\":", policy::TlsResult(tls.decision), out);
  if (tls.decision.reason != policy::TlsReason::kNone) {
    AppendText(",\"tls_reason\":", policy::TlsReasonWord(tls.decision.reason), out);
  }
  if (tls.protocol.empty()) return;
  AppendText(",\"tls_protocol_version\":", tls.protocol, out);
  AppendText(",\"tls_cipher\":", tls.cipher, out);
  AppendText(",\"tls_peer_subject_name\":", tls.subject, out);
}

// What belongs to an attempt and not to a reception.
void AppendAttempt(const Event& event, std::string& out) {
  AppendText(",\"egress_source\":", event.source, out);
  AppendTls(event.tls != nullptr ? *event.tls : delivery::TlsOutcome{}, out);
  if (!event.binding_limit.empty()) AppendText(",\"binding_limit\":", event.binding_limit, out);
  out += ",\"table_version\":";
  AppendNumber(event.table_version, out);
  out += event.in_doubt ? ",\"in_doubt\":true" : ",\"in_doubt\":false";
  AppendStages(event.stages, out);
}

}  // namespace

void AppendJsonString(absl::string_view text, std::string& out) {
  out += '"';
  size_t i = 0;
  while (i < text.size()) {
    const size_t begin = i;
    while (i < text.size() && kPlain[At(text, i)]) ++i;
    out.append(text.data() + begin, i - begin);
    if (i < text.size()) i += AppendSpecial(text.substr(i), out);
  }
  out += '"';
}

void AppendEventLine(const Event& event, std::string& out) {
  AppendText("{\"type\":", TypeName(event.type), out);
  AppendText(",\"id\":", event.id.ToString(), out);
  AppendText(",\"sender\":", event.sender, out);
  AppendText(",\"recipient\":", event.recipient, out);
  AppendText(",\"queue\":", event.destination, out);
  out += ",\"size\":";
  AppendNumber(event.message_bytes, out);
  if (event.reply != nullptr) AppendResponse(*event.reply, event.command, out);
  if (event.peer_address.ip.family != Family::kNone) {
    AppendText(",\"peer_address\":{\"name\":", event.peer_name, out);
    AppendText(",\"addr\":", event.peer_address.ip.ToString(), out);
    out += '}';
  }
  out += ",\"timestamp\":";
  AppendNumber(UnixSeconds(event.timestamp), out);
  out += ",\"num_attempts\":";
  AppendNumber(event.attempts, out);
  if (event.type != EventType::kReception) AppendAttempt(event, out);
  out += ",\"shard\":";
  AppendNumber(event.shard, out);
  out += "}\n";
}

void AppendDroppedLine(uint64_t count, uint32_t shard, WallTime last, std::string& out) {
  out += "{\"type\":\"Dropped\",\"count\":";
  AppendNumber(count, out);
  out += ",\"timestamp\":";
  AppendNumber(UnixSeconds(last), out);
  out += ",\"shard\":";
  AppendNumber(shard, out);
  out += "}\n";
}

}  // namespace sluice::admin
