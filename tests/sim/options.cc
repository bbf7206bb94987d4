#include "tests/sim/options.h"

#include <type_traits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"

namespace sluice::sim {
namespace {

using std::chrono::minutes;

// Every fault with its name, once.
template <class Visit>
void ForEachRate(Faults& faults, Visit visit) {
  visit("refuse_call", faults.refuse_call);
  visit("hang_call", faults.hang_call);
  visit("greeting", faults.greeting);
  visit("ehlo", faults.ehlo);
  visit("command_later", faults.command_later);
  visit("command_never", faults.command_never);
  visit("command_421", faults.command_421);
  visit("command_close", faults.command_close);
  visit("garbage", faults.garbage);
  visit("silence", faults.silence);
  visit("slow", faults.slow);
  visit("dot_lost", faults.dot_lost);
  visit("body_refusal", faults.body_refusal);
  visit("stall", faults.stall);
  visit("idle_421", faults.idle_421);
  visit("rset_refusal", faults.rset_refusal);
  visit("greylist", faults.greylist);
  visit("dns_temporary", faults.dns_temporary);
  visit("injector_breaks", faults.injector_breaks);
  visit("accept_error", faults.accept_error);
}

// Those that are drawn last: a seed's other options are what they were before there were these.
template <class Visit>
void ForEachTlsRate(Faults& faults, Visit visit) {
  visit("start_tls", faults.start_tls);
  visit("handshake", faults.handshake);
  visit("handshakes_slow", faults.handshakes_slow);
  visit("handshakes_refused", faults.handshakes_refused);
}

template <class Visit>
void ForEachCount(Faults& faults, Visit visit) {
  visit("disk_errors", faults.disk_errors);
  visit("disk_full", faults.disk_full);
  visit("read_errors", faults.read_errors);
  visit("crashes", faults.crashes);
  visit("power_cuts", faults.power_cuts);
  visit("restarts", faults.restarts);
  visit("aborts", faults.aborts);
  visit("clock_steps", faults.clock_steps);
}

void DrawRate(Random& random, double often, double& rate) {
  if (!random.Chance(often)) return;
  const double strength = random.Fraction();
  rate = 0.002 + 0.3 * strength * strength;
}

void DrawFaults(Random& random, Faults& faults) {
  if (random.Chance(0.15)) return;
  const double often = random.Chance(0.5) ? 0.15 : 0.5;  // Of the faults, so many are there.
  ForEachRate(faults, [&](const char*, double& rate) { DrawRate(random, often, rate); });
  ForEachCount(faults, [&](const char*, int& count) {
    if (random.Chance(often * 0.5)) count = static_cast<int>(random.Between(1, 3));
  });
}

}  // namespace

Options DrawOptions(uint64_t seed) {
  Random random(seed * 2 + 1);
  Options options;
  options.shards = static_cast<uint32_t>(random.Between(1, 4));
  options.domains = static_cast<uint32_t>(random.Between(1, random.Chance(0.5) ? 5 : 30));
  options.messages = static_cast<uint32_t>(random.Between(1, random.Chance(0.7) ? 60 : 250));
  options.recipients_max = static_cast<uint32_t>(random.Chance(0.4) ? 1 : random.Between(2, 12));
  if (random.Chance(0.03)) options.recipients_max = 130;
  options.segment_bytes = uint64_t{64 << 10} << random.Between(0, 3);
  options.body_bytes_max =
      random.Chance(0.7) ? 2000 : static_cast<uint32_t>(options.segment_bytes / 4 - 4096);
  options.active = minutes(random.Between(1, random.Chance(0.5) ? 10 : 60));
  options.unknown_recipients = random.Chance(0.4) ? 0.2 * random.Fraction() : 0;
  options.bad_domains = random.Chance(0.3) ? 0.3 * random.Fraction() : 0;
  options.peers_pipeline = random.Chance(0.7);
  options.recipients_bound = random.Chance(0.3) ? random.Fraction() : 0;
  options.plain_peers = random.Chance(0.3) ? random.Fraction() : 0;
  options.controls = random.Chance(0.7);
  options.table_swaps = options.controls && random.Chance(0.4) ? int(random.Between(1, 4)) : 0;
  options.one_host_only = random.Chance(0.4);
  options.short_queue = random.Chance(0.1);
  options.cut = random.Chance(0.6) ? random.Fraction() * 0.6 : 0;
  options.tight_rooms = random.Chance(0.2);
  options.reorders = random.Chance(0.5);
  options.small_slabs = random.Chance(0.2);
  options.slow_turns = random.Chance(0.2);
  DrawFaults(random, options.faults);
  options.notifications = random.Chance(0.3);
  // Drawn last, so that a seed's other options are what they were before there were these.
  options.scopes = options.controls && random.Chance(0.5);
  if (random.Chance(0.4)) options.sources = static_cast<uint32_t>(random.Between(1, 3));
  if (options.sources > 0 && random.Chance(0.4)) options.lost_addresses = int(random.Between(1, 4));
  options.tls = options.controls && random.Chance(0.5);
  options.intake_tls = options.tls && random.Chance(0.3);
  if (options.tls && random.Chance(0.7)) {
    ForEachTlsRate(options.faults, [&](const char*, double& rate) { DrawRate(random, 0.4, rate); });
  }
  options.new_routes = !options.one_host_only && random.Chance(0.3);
  if (random.Chance(0.1)) DrawRate(random, 1, options.faults.open_error);
  if (random.Chance(0.05)) options.faults.name_errors = static_cast<int>(random.Between(1, 2));
  options.streams = random.Chance(0.25);
  options.few_residents = random.Chance(0.3);
  options.ahead_refused = random.Chance(0.3) ? random.Fraction() : 0;
  options.chunking = random.Chance(0.6) ? random.Fraction() : 0;
  return options;
}

namespace {

// Every option with its name and its least value, once.
template <class Visit>
void ForEachOption(Options& o, Visit visit) {
  visit("salt", o.salt, 0);
  visit("shards", o.shards, 1);
  visit("domains", o.domains, 1);
  visit("messages", o.messages, 1);
  visit("recipients_max", o.recipients_max, 1);
  visit("body_bytes_max", o.body_bytes_max, 100);
  visit("active_min", o.active, minutes(1));
  visit("unknown_recipients", o.unknown_recipients, 0);
  visit("bad_domains", o.bad_domains, 0);
  visit("peers_pipeline", o.peers_pipeline, false);
  visit("recipients_bound", o.recipients_bound, 0);
  visit("plain_peers", o.plain_peers, 0);
  visit("controls", o.controls, false);
  visit("table_swaps", o.table_swaps, 0);
  visit("one_host_only", o.one_host_only, true);
  visit("short_queue", o.short_queue, false);
  visit("cut", o.cut, 0);
  visit("tight_rooms", o.tight_rooms, false);
  visit("reorders", o.reorders, false);
  visit("small_slabs", o.small_slabs, false);
  visit("slow_turns", o.slow_turns, false);
  visit("scopes", o.scopes, false);
  visit("sources", o.sources, 0);
  visit("lost_addresses", o.lost_addresses, 0);
  visit("notifications", o.notifications, false);
  visit("segment_bytes", o.segment_bytes, uint64_t{64 << 10});
  visit("tls", o.tls, false);
  visit("intake_tls", o.intake_tls, false);
  visit("new_routes", o.new_routes, false);
  visit("streams", o.streams, false);
  visit("few_residents", o.few_residents, false);
  visit("ahead_refused", o.ahead_refused, 0);
  visit("chunking", o.chunking, 0);
  visit("open_error", o.faults.open_error, 0);
  visit("name_errors", o.faults.name_errors, 0);
  ForEachRate(o.faults, [&](const char* name, double& rate) { visit(name, rate, 0); });
  ForEachTlsRate(o.faults, [&](const char* name, double& rate) { visit(name, rate, 0); });
  ForEachCount(o.faults, [&](const char* name, int& count) { visit(name, count, 0); });
}

std::string Text(double value) {
  return absl::StrCat(value);
}
std::string Text(bool value) {
  return value ? "1" : "0";
}
std::string Text(Duration value) {
  return absl::StrCat(value / minutes(1));
}
template <class Number>
std::string Text(Number value) {
  return absl::StrCat(value);
}

bool Read(const std::string& text, double& value) {
  return absl::SimpleAtod(text, &value);
}
bool Read(const std::string& text, bool& value) {
  return absl::SimpleAtob(text, &value);
}
bool Read(const std::string& text, Duration& value) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) return false;
  value = minutes(number);
  return true;
}
template <class Number>
bool Read(const std::string& text, Number& value) {
  return absl::SimpleAtoi(text, &value);
}

}  // namespace

bool Options::Set(absl::string_view name, const std::string& text) {
  bool known = false;
  ForEachOption(*this, [&](const char* option, auto& value, auto) {
    if (name == option) known = Read(text, value);
  });
  return known;
}

bool Options::IsOption(absl::string_view name) {
  Options any;
  bool known = false;
  ForEachOption(any, [&](const char* option, auto&, auto) { known |= name == option; });
  return known;
}

Options Options::Least() {
  Options options;
  ForEachOption(options, [](const char*, auto& value, auto least) {
    value = static_cast<std::decay_t<decltype(value)>>(least);
  });
  return options;
}

std::map<std::string, std::string> Options::Differing() const {
  Options copy = *this;
  std::map<std::string, std::string> settings;
  ForEachOption(copy, [&](const char* name, auto& value, auto least) {
    if (value != static_cast<std::decay_t<decltype(value)>>(least)) settings[name] = Text(value);
  });
  return settings;
}

// Without the faults that there are not.
std::string Options::ToString() const {
  Options copy = *this;
  std::vector<std::string> texts;
  ForEachOption(copy, [&](const char* name, auto& value, auto least) {
    using Value = std::decay_t<decltype(value)>;
    const bool drawn_always = !std::is_same_v<Value, double> && !std::is_same_v<Value, int>;
    if (drawn_always || value != Value(least))
      texts.push_back(absl::StrCat(name, "=", Text(value)));
  });
  return absl::StrJoin(texts, " ");
}

// The least, then half of the way there, then one step; a switch and a rate have only their least.
std::vector<Options::Simpler> Options::SimplerOnes() const {
  Options copy = *this;
  std::vector<Simpler> ones;
  ForEachOption(copy, [&](const char* name, auto& value, auto the_least) {
    using Value = std::decay_t<decltype(value)>;
    const Value least(the_least);
    if (value == least || absl::string_view(name) == "salt") return;
    Simpler one = {.name = name, .values = {Text(least)}};
    if constexpr (std::is_same_v<Value, Duration>) {
      one.values.push_back(Text((value + least) / 2));
    } else if constexpr (!std::is_same_v<Value, bool> && !std::is_same_v<Value, double>) {
      const Value half = static_cast<Value>(least + (value - least) / 2);
      if (half != least) one.values.push_back(Text(half));
      const Value step = static_cast<Value>(value - 1);
      if (step != half && value < 20) one.values.push_back(Text(step));
    }
    std::erase(one.values, Text(value));
    ones.push_back(std::move(one));
  });
  return ones;
}

// -------------------------------------------------------------------------------------------------

bool Case::Set(absl::string_view setting) {
  if (setting == "least") return from_least = true;
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(setting, absl::MaxSplits('=', 1));
  if (!Options().Set(parts.first, parts.second)) return false;
  settings[parts.first] = parts.second;
  return true;
}

Options Case::Draw() const {
  Options options = from_least ? Options::Least() : DrawOptions(seed);
  for (const auto& [name, text] : settings) CHECK(options.Set(name, text));
  // What needs another option means nothing without it.
  if (!options.controls) options.table_swaps = 0, options.scopes = options.tls = false;
  if (!options.tls) options.intake_tls = false;
  if (options.sources == 0) options.lost_addresses = 0;
  return options;
}

std::string Case::ToString() const {
  std::string text = absl::StrCat(seed, from_least ? " least" : "");
  for (const auto& [name, value] : settings) absl::StrAppend(&text, " ", name, "=", value);
  return text;
}

bool Case::Parse(absl::string_view line, Case& into) {
  into = Case{};
  bool first = true;
  for (const absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    if (first && !absl::SimpleAtoi(word, &into.seed)) return false;
    const absl::string_view name = word.substr(0, word.find('='));
    const bool setting = word == "least" || (name.size() < word.size() && Options::IsOption(name));
    if (!first && !setting) break;
    if (setting && !into.Set(word)) return false;
    first = false;
  }
  return !first;
}

}  // namespace sluice::sim
