// The line of the delivery log that an event makes, read back with a JSON parser of another hand:
// the field names that scripts rely on, and that no byte of a peer's making can break a line, hide
// one or reach a terminal (F26).

#include "engine/admin/event_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace sluice::admin {
namespace {

using delivery::Event;
using delivery::EventType;
using nlohmann::json;

json Parsed(const std::string& line) {
  json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(parsed.is_discarded()) << line;
  return parsed;
}

std::string Line(const Event& event) {
  std::string line;
  AppendEventLine(event, line);
  return line;
}

std::string Escaped(absl::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

// A code point below 0x800 in UTF-8.
std::string Utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xc0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3f))};
}

TEST(EventLine, OfADeliveryHasTheFieldsThatScriptsRelyOn) {
  const smtp::Reply reply = {.code = 250, .enhanced = {2, 0, 0}, .text = "Ok: queued as 4711"};
  Event event;
  event.type = EventType::kDelivery;
  event.timestamp = WallTime(std::chrono::seconds(1678069691) + std::chrono::milliseconds(999));
  event.id = MessageId{0x0123456789abcd03};
  event.sender = "user@sender.example";
  event.recipient = "user@recipient.example";
  event.destination = "recipient.example";
  event.message_bytes = 1047;
  event.reply = &reply;
  event.command = "the final dot";
  event.peer_name = "mx.recipient.example";
  event.peer_address = {*IpAddress::Parse("192.0.2.27"), 25};
  event.source = "192.0.2.10";
  event.attempts = 2;
  event.table_version = 17;
  event.shard = 3;
  event.stages = {.queue = std::chrono::milliseconds(1500),
                  .dns = std::chrono::microseconds(1),
                  .connect = std::chrono::nanoseconds(1999),
                  .tls = {},
                  .envelope = std::chrono::seconds(61),
                  .data = std::chrono::milliseconds(20)};

  EXPECT_EQ(Parsed(Line(event)), json::parse(R"({
    "type": "Delivery",
    "id": ")" + event.id.ToString() + R"(",
    "sender": "user@sender.example",
    "recipient": "user@recipient.example",
    "queue": "recipient.example",
    "size": 1047,
    "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0},
                 "content": "Ok: queued as 4711", "command": "the final dot"},
    "peer_address": {"name": "mx.recipient.example", "addr": "192.0.2.27"},
    "timestamp": 1678069691,
    "num_attempts": 2,
    "egress_source": "192.0.2.10",
    "tls_level": "off",
    "tls_result": "none",
    "table_version": 17,
    "shard": 3,
    "in_doubt": false,
    "stages": {"queue": 1.5, "dns": 0.000001, "connect": 0.000001, "tls": 0.0,
               "envelope": 61.0, "data": 0.02}
  })"));
}

TEST(EventLine, NamesTheTypesAsKumoMtaDoes) {
  struct Case {
    EventType type;
    const char* name;
  };
  for (const Case& c :
       {Case{EventType::kReception, "Reception"}, Case{EventType::kDelivery, "Delivery"},
        Case{EventType::kTransientFailure, "TransientFailure"}, Case{EventType::kBounce, "Bounce"},
        Case{EventType::kExpiration, "Expiration"}}) {
    Event event;
    event.type = c.type;
    EXPECT_EQ(Parsed(Line(event))["type"], c.name);
  }
}

TEST(EventLine, LeavesOutWhatThereWasNot) {
  Event event;
  event.type = EventType::kTransientFailure;
  const json deferred = Parsed(Line(event));
  EXPECT_FALSE(deferred.contains("response"));
  EXPECT_FALSE(deferred.contains("peer_address"));
  EXPECT_FALSE(deferred.contains("binding_limit"));

  const smtp::Reply reply = {.code = 451, .enhanced = {}, .text = "later"};
  event.reply = &reply;
  EXPECT_FALSE(Parsed(Line(event))["response"].contains("enhanced_code"));

  // A reception is no attempt.
  event.type = EventType::kReception;
  const json reception = Parsed(Line(event));
  for (const char* key : {"stages", "tls_level", "tls_result", "egress_source", "in_doubt"}) {
    EXPECT_FALSE(reception.contains(key)) << key;
  }
}

TEST(EventLine, TellsTheBindingLimitAndTheDoubt) {
  Event event;
  event.type = EventType::kTransientFailure;
  event.binding_limit = "recipients";
  event.in_doubt = true;
  const json parsed = Parsed(Line(event));
  EXPECT_EQ(parsed["binding_limit"], "recipients");
  EXPECT_EQ(parsed["in_doubt"], true);
}

TEST(EventLine, CountsDroppedEvents) {
  std::string line;
  AppendDroppedLine(12, 3, WallTime(std::chrono::seconds(1678069691)), line);
  EXPECT_EQ(Parsed(line), json::parse(R"({"type": "Dropped", "count": 12,
                                          "timestamp": 1678069691, "shard": 3})"));
}

// Every byte, in every field that holds text: the line stays one line of valid JSON without a
// control byte, and the text comes back; a byte that is no UTF-8 comes back as the code point of
// its number.
TEST(EventLine, BearsEveryByteInEveryText) {
  using Field = absl::string_view Event::*;
  const Field fields[] = {&Event::sender,       &Event::recipient, &Event::destination,
                          &Event::command,      &Event::peer_name, &Event::source,
                          &Event::binding_limit};
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "z";
    const std::string expected = "a" + Utf8(static_cast<uint32_t>(byte)) + "z";
    smtp::Reply reply = {.code = 550, .enhanced = {5, 1, 1}, .text = text};
    Event event;
    event.type = EventType::kBounce;
    event.reply = &reply;
    event.peer_address = {*IpAddress::Parse("192.0.2.27"), 25};
    for (const Field field : fields) event.*field = text;

    const std::string line = Line(event);
    ASSERT_EQ(line.find('\n'), line.size() - 1) << byte;
    for (const char c : line.substr(0, line.size() - 1)) {
      ASSERT_GE(static_cast<uint8_t>(c), 0x20) << byte;
      ASSERT_NE(static_cast<uint8_t>(c), 0x7f) << byte;
    }
    const json parsed = Parsed(line);
    for (const char* key : {"sender", "recipient", "queue", "egress_source", "binding_limit"}) {
      EXPECT_EQ(parsed[key], expected) << byte << " in " << key;
    }
    EXPECT_EQ(parsed["peer_address"]["name"], expected) << byte;
    EXPECT_EQ(parsed["response"]["content"], expected) << byte;
    EXPECT_EQ(parsed["response"]["command"], expected) << byte;
  }
}

TEST(JsonString, EscapesWhatItMust) {
  struct Case {
    absl::string_view text;
    absl::string_view escaped;  // Between the quotes.
  };
  for (const Case& c : {
           Case{"", ""},
           Case{"plain text ~", "plain text ~"},
           Case{"\"\\", "\\\"\\\\"},
           Case{"one\ntwo\r\n\t", "one\\ntwo\\r\\n\\t"},
           Case{absl::string_view("\0", 1), "\\u0000"},
           Case{"\x1b[2J", "\\u001b[2J"},
           Case{"\x7f", "\\u007f"},
           // Valid UTF-8 of each length stands for itself, at the first and last of its length.
           Case{"\xc2\xa0 \xdf\xbf", "\xc2\xa0 \xdf\xbf"},
           Case{"\xe0\xa0\x80 \xef\xbf\xbf", "\xe0\xa0\x80 \xef\xbf\xbf"},
           Case{"\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"},
           // C1 controls, and what some take for the end of a line.
           Case{"\xc2\x80\xc2\x9b\xc2\x9f", "\\u0080\\u009b\\u009f"},
           Case{"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
           // Not UTF-8: overlong, a surrogate, beyond U+10FFFF, cut, a tail alone, never a byte of
           // it.
           Case{"\xc0\xaf", "\\u00c0\\u00af"},
           Case{"\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf"},
           Case{"\xf0\x8f\xbf\xbf", "\\u00f0\\u008f\\u00bf\\u00bf"},
           Case{"\xed\xa0\x80", "\\u00ed\\u00a0\\u0080"},
           Case{"\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080"},
           Case{"\xc3", "\\u00c3"},
           Case{"\xe2\x82", "\\u00e2\\u0082"},
           Case{"\xf0\x9f\x98", "\\u00f0\\u009f\\u0098"},
           Case{"\xe2\x82z", "\\u00e2\\u0082z"},
           Case{"\x80", "\\u0080"},
           Case{"\xff", "\\u00ff"},
       }) {
    EXPECT_EQ(Escaped(c.text), "\"" + std::string(c.escaped) + "\"");
  }
}

}  // namespace
}  // namespace sluice::admin
