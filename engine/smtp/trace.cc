#include "engine/smtp/trace.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::smtp {
namespace {

// What a HELO name contributes to the line at most: more than a domain is none.
constexpr size_t kHeloShownBytesMax = 255;

constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// The name is the client's own text. What is no domain or address literal could close the comment,
// or begin a clause that we did not write.
std::string ShownHelo(absl::string_view helo) {
  if (helo.empty()) return "unknown";
  std::string shown(helo.substr(0, kHeloShownBytesMax));
  for (char& c : shown) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                       absl::string_view(".-_:[]").find(c) != absl::string_view::npos;
    if (!plain) c = '?';
  }
  return shown;
}

std::string AddressLiteral(const IpAddress& address) {
  switch (address.family) {
    case Family::kNone:
      return "unknown";
    case Family::kIpv4:
      return absl::StrCat("[", address.ToString(), "]");
    case Family::kIpv6:
      return absl::StrCat("[IPv6:", address.ToString(), "]");
  }
  CHECK(false);
  return {};
}

absl::string_view Protocol(bool esmtp, bool tls) {
  if (!esmtp) return "SMTP";
  return tls ? "ESMTPS" : "ESMTP";
}

bool IsOneLine(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

std::string ReceivedLine(absl::string_view helo, const IpAddress& client,
                         absl::string_view hostname, bool esmtp, absl::string_view id,
                         absl::string_view for_address, WallTime now, bool tls) {
  CHECK(IsOneLine(hostname));
  CHECK(IsOneLine(id));
  CHECK(IsOneLine(for_address));
  // One clause a line: a short name and a date stay under 78, and the longest path under 998.
  std::string line =
      absl::StrCat("Received: from ", ShownHelo(helo), " (", AddressLiteral(client), ")\r\n\tby ",
                   hostname, " with ", Protocol(esmtp, tls), "\r\n\tid ", id);
  if (!for_address.empty()) absl::StrAppend(&line, "\r\n\tfor <", for_address, ">");
  absl::StrAppend(&line, ";\r\n\t", MailDate(now), "\r\n");
  return line;
}

std::string MailDate(WallTime time) {
  const auto since_epoch = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  const std::chrono::sys_days day{std::chrono::floor<std::chrono::days>(since_epoch)};
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{since_epoch - day.time_since_epoch()};
  const auto padded = [](auto number) {
    return absl::Dec(static_cast<unsigned>(number), absl::kZeroPad2);
  };
  return absl::StrCat(kDays[std::chrono::weekday{day}.c_encoding()], ", ",
                      padded(static_cast<unsigned>(date.day())), " ",
                      kMonths[static_cast<unsigned>(date.month()) - 1], " ",
                      absl::Dec(static_cast<int>(date.year()), absl::kZeroPad4), " ",
                      padded(clock.hours().count()), ":", padded(clock.minutes().count()), ":",
                      padded(clock.seconds().count()), " +0000");
}

}  // namespace sluice::smtp
