#include "tests/sim/options.h"

#include "absl/strings/str_cat.h"

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

void DrawFaults(Random& random, Faults& faults) {
  if (random.Chance(0.15)) return;
  const double often = random.Chance(0.5) ? 0.15 : 0.5;  // Of the faults, so many are there.
  ForEachRate(faults, [&](const char*, double& rate) {
    if (!random.Chance(often)) return;
    const double strength = random.Fraction();
    rate = 0.002 + 0.3 * strength * strength;
  });
  ForEachCount(faults, [&](const char*, int& count) {
    if (random.Chance(often * 0.5)) count = static_cast<int>(random.Between(1, 3));
  });
}

}  // namespace

Options DrawOptions(uint64_t seed) {
  Random random(seed * 2 + 1);
  Options options;
  options.seed = seed;
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
  return options;
}

bool Options::calm() const {
  bool calm = true;
  Faults copy = faults;
  ForEachRate(copy, [&](const char*, double rate) { calm &= rate == 0; });
  ForEachCount(copy, [&](const char*, int count) { calm &= count == 0; });
  return calm;
}

std::string Options::ToString() const {
  std::string text =
      absl::StrCat("shards=", shards, " domains=", domains, " messages=", messages,
                   " recipients_max=", recipients_max, " body_bytes_max=", body_bytes_max,
                   " active_min=", active / minutes(1), " unknown_recipients=", unknown_recipients,
                   " bad_domains=", bad_domains);
  absl::StrAppend(&text, " peers_pipeline=", peers_pipeline, " recipients_bound=", recipients_bound,
                  " plain_peers=", plain_peers, " controls=", controls,
                  " table_swaps=", table_swaps, " one_host_only=", one_host_only,
                  " short_queue=", short_queue, " cut=", cut);
  absl::StrAppend(&text, " tight_rooms=", tight_rooms, " reorders=", reorders,
                  " small_slabs=", small_slabs, " slow_turns=", slow_turns, " scopes=", scopes,
                  " sources=", sources, " lost_addresses=", lost_addresses,
                  " notifications=", notifications, " segment_bytes=", segment_bytes);
  Faults copy = faults;
  ForEachRate(copy, [&](const char* name, double rate) {
    if (rate > 0) absl::StrAppend(&text, " ", name, "=", rate);
  });
  ForEachCount(copy, [&](const char* name, int count) {
    if (count > 0) absl::StrAppend(&text, " ", name, "=", count);
  });
  return text;
}

}  // namespace sluice::sim
