#include "engine/delivery/window_record.h"

#include <algorithm>
#include <string>

#include "engine/base/check.h"

namespace sluice::delivery {
namespace {

spool::WindowPart PartOf(policy::WindowPart part) {
  switch (part) {
    case policy::WindowPart::kScope:
      return spool::WindowPart::kScope;
    case policy::WindowPart::kSystem:
      return spool::WindowPart::kSystem;
    case policy::WindowPart::kBefore:
      return spool::WindowPart::kBefore;
  }
  return spool::WindowPart::kScope;
}

policy::WindowPart PartOf(spool::WindowPart part) {
  switch (part) {
    case spool::WindowPart::kScope:
      return policy::WindowPart::kScope;
    case spool::WindowPart::kSystem:
      return policy::WindowPart::kSystem;
    case spool::WindowPart::kBefore:
      return policy::WindowPart::kBefore;
  }
  return policy::WindowPart::kScope;
}

}  // namespace

spool::WindowRecord RecordOf(absl::string_view destination, const policy::WindowState& state,
                             absl::string_view source, Now now) {
  spool::WindowRecord record = {.key = {.destination = std::string(destination),
                                        .part = PartOf(state.part),
                                        .each_address = state.scope.each_address,
                                        .each_source = state.scope.each_source,
                                        .address = state.key.address,
                                        .source = std::string(source)},
                                .at = now.wall,
                                // That of an ended one says nothing.
                                .period = std::max(state.period, Duration(1)),
                                .reserved = state.reserved};
  for (const policy::WindowStamp& seen : state.seen) {
    CHECK(seen.by <= now.instant);
    record.seen.push_back(
        {.by = now.wall - (now.instant - seen.by), .recipients = seen.recipients});
  }
  return record;
}

policy::WindowState StateOf(const spool::WindowRecord& record, std::optional<uint32_t> source,
                            Now now) {
  CHECK(record.reserved == 0);
  if (record.key.source.empty()) source = 0;
  policy::WindowState state = {
      .part = PartOf(record.key.part),
      .scope = {.each_address = record.key.each_address, .each_source = record.key.each_source},
      .key = {.address = record.key.address, .source = source.value_or(0)},
      .period = record.period};
  if (!source) state.part = policy::WindowPart::kBefore;
  for (const spool::SeenBy& seen : record.seen) {
    const Duration since = std::max(Duration(now.wall - seen.by), Duration::zero());
    state.seen.push_back({.by = now.instant - since, .recipients = seen.recipients});
  }
  return state;
}

}  // namespace sluice::delivery
