#include "engine/admin/delivery_log.h"

#include <iterator>
#include <utility>

#include "engine/admin/event_line.h"
#include "engine/base/check.h"

namespace sluice::admin {

ShardLog::~ShardLog() {
  if (!TellDropped()) writer_.Miss(dropped_);
}

void ShardLog::Emit(const delivery::Event& event, uint64_t batch) {
  if (held_bytes_ >= held_bytes_max_) return Drop(1, event.timestamp);
  Held& held = HeldOf(batch);
  const size_t before = held.lines.size();
  AppendEventLine(event, held.lines);
  held_bytes_ += held.lines.size() - before;
  held.events += 1;
  held.last = event.timestamp;
}

void ShardLog::Release(uint64_t durable_batch) {
  while (!held_.empty() && held_.front().batch <= durable_batch) {
    HandOver(held_.front());
    held_.pop_front();
  }
}

// Events come mostly for the newest batch; one about an older batch goes to its place.
ShardLog::Held& ShardLog::HeldOf(uint64_t batch) {
  auto place = held_.end();
  while (place != held_.begin() && std::prev(place)->batch > batch) --place;
  if (place != held_.begin() && std::prev(place)->batch == batch) return *std::prev(place);
  return *held_.insert(place, {.batch = batch, .lines = std::exchange(spare_, {})});
}

void ShardLog::HandOver(Held& held) {
  CHECK(held_bytes_ >= held.lines.size());
  held_bytes_ -= held.lines.size();
  // While the gap could not be told, nothing goes through behind it.
  if (!TellDropped() || !writer_.Give(shard_, held.lines, held.events)) {
    Drop(held.events, held.last);
  }
  held.lines.clear();
  spare_ = std::move(held.lines);
}

void ShardLog::Drop(uint64_t events, WallTime last) {
  dropped_ += events;
  last_dropped_ = last;
}

// False: there is a gap, and the writer does not take the line that tells of it.
bool ShardLog::TellDropped() {
  if (dropped_ == 0) return true;
  dropped_line_.clear();
  AppendDroppedLine(dropped_, shard_, last_dropped_, dropped_line_);
  if (!writer_.Give(shard_, dropped_line_, dropped_)) return false;
  dropped_ = 0;
  return true;
}

}  // namespace sluice::admin
