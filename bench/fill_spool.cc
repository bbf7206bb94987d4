// Fills a spool with messages that wait, without an engine: for measuring what a start and a drain
// of a large queue cost.
//
//   fill_spool PATH MESSAGES BYTES DESTINATIONS [SHARDS] [DEFERRED]
//
// Messages of so many bytes to so many domains (d0.example …), over as many logs; one in DEFERRED
// (0: none) has been tried, and is due in an hour.

#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/message_id.h"
#include "engine/io/clock.h"
#include "engine/spool/log.h"
#include "engine/spool/posix_disk.h"

namespace sluice {
namespace {

// What one write and sync carries.
constexpr uint64_t kBatchBytes = 16 << 20;

struct Shape {
  uint64_t messages = 0;
  uint64_t bytes = 0;
  uint64_t destinations = 0;
  uint32_t shards = 1;
  uint64_t deferred = 0;
};

int32_t Perform(const spool::Step& step) {
  if (step.kind == spool::StepKind::kSync) return fdatasync(step.descriptor);
  std::vector<iovec> parts;
  for (const spool::Bytes part : step.parts) {
    parts.push_back({const_cast<std::byte*>(part.data()), part.size()});
  }
  return static_cast<int32_t>(pwritev(step.descriptor, parts.data(),
                                      static_cast<int>(parts.size()),
                                      static_cast<off_t>(step.offset)));
}

void Commit(spool::Log& log) {
  while (true) {
    const spool::Step step = log.NextStep();
    if (step.kind == spool::StepKind::kNone) return;
    log.OnDone(Perform(step));
    CHECK(!log.failed());
  }
}

std::string BodyOf(uint64_t bytes) {
  std::string body = "Subject: a message that waits\r\n\r\n";
  while (body.size() + 5 < bytes) body += std::string(std::min<uint64_t>(70, bytes), 'x') + "\r\n";
  return body + ".\r\n";
}

void Append(const Shape& shape, uint64_t number, MessageId id, const std::string& body,
            spool::Log& log, WallTime now) {
  const spool::Bytes bytes(reinterpret_cast<const std::byte*>(body.data()), body.size());
  const spool::Bytes parts[] = {bytes};
  spool::AcceptedRecord record;
  record.id = id;
  record.accepted_at = now;
  record.sender = "sender@source.example";
  record.message_bytes = body.size() - 3;
  record.wire_bytes = body.size();
  record.body_checksum = XXH3_64bits(body.data(), body.size());
  record.body = {log.AppendBody(id, 0, parts, now)};
  record.recipients.resize(1);
  record.recipients[0].destination = absl::StrCat("d", number % shape.destinations, ".example");
  record.recipients[0].address =
      absl::StrCat("user", number, "@", record.recipients[0].destination);
  log.AppendAccepted(record, now);
  log.Lives(record.body.front().segment, 0);
  if (shape.deferred == 0 || number % shape.deferred != 0) return;
  log.AppendDeferred({.id = id,
                      .attempts = 1,
                      .next_attempt = now + std::chrono::hours(1),
                      .last_reply = "450 4.2.1 busy",
                      .peer_name = "mx.example",
                      .command = "MAIL FROM",
                      .recipients = {0}},
                     now);
}

int Fill(const std::string& path, const Shape& shape) {
  absl::StatusOr<std::unique_ptr<spool::PosixDisk>> disk = spool::PosixDisk::Open(path);
  if (!disk.ok()) {
    std::fprintf(stderr, "%s\n", std::string(disk.status().message()).c_str());
    return 1;
  }
  const WallTime now = io::ReadClock().wall;
  const std::string body = BodyOf(shape.bytes);
  for (uint32_t shard = 0; shard < shape.shards; ++shard) {
    spool::Log log({.number = static_cast<uint16_t>(shard)}, **disk, {}, 1);
    CHECK(log.Begin(now).ok());
    MessageIdSource ids(static_cast<uint8_t>(shard));
    uint64_t waiting = 0;
    for (uint64_t number = shard; number < shape.messages; number += shape.shards) {
      CHECK(log.MayAccept(body.size(), now));
      Append(shape, number, ids.Next(now), body, log, now);
      waiting += body.size();
      if (waiting >= kBatchBytes) {
        Commit(log);
        waiting = 0;
      }
    }
    Commit(log);
  }
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "fill_spool PATH MESSAGES BYTES DESTINATIONS [SHARDS] [DEFERRED]\n");
    return 2;
  }
  const auto number = [&](int i) {
    return i < argc ? static_cast<uint64_t>(std::strtoull(argv[i], nullptr, 10)) : 0;
  };
  return sluice::Fill(argv[1], {.messages = number(2),
                                .bytes = number(3),
                                .destinations = std::max<uint64_t>(1, number(4)),
                                .shards = static_cast<uint32_t>(std::max<uint64_t>(1, number(5))),
                                .deferred = number(6)});
}
