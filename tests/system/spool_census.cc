// What a spool holds, as recovery reads it: for tests that compare it with a ledger of their own.
//
//   spool_census FOLDER
//
// prints for each message
//
//   message ID accepted|bounce intact|damaged SHA256
//   recipient ADDRESS waiting|delivered|bounced
//
// for each segment `segment LOG SEQUENCE`, and at the end `census` with the counts of messages,
// records, damaged records and incomplete messages. `intact`: the body that its extents name has
// the checksum of the promise. SHA256 is that of the body in wire form from the first line that
// begins with `X-Number: `, since the engine puts lines on top; of the whole, if there is none.
//
// Takes the spool's lock, and writes nothing.

#include <openssl/evp.h>
#include <xxhash.h>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/spool/posix_disk.h"
#include "engine/spool/recovery.h"

namespace sluice::spool {
namespace {

constexpr absl::string_view kMark = "X-Number: ";

absl::string_view StateWord(RecipientState state) {
  switch (state) {
    case RecipientState::kWaiting:
      return "waiting";
    case RecipientState::kDelivered:
      return "delivered";
    case RecipientState::kBounced:
      return "bounced";
  }
  return "";
}

absl::string_view FromTheMark(absl::string_view body) {
  size_t at = body.find(kMark);
  while (at != absl::string_view::npos && at > 0 && body[at - 1] != '\n') {
    at = body.find(kMark, at + 1);
  }
  return at == absl::string_view::npos ? body : body.substr(at);
}

std::string Sha256(absl::string_view bytes) {
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size,
                 EVP_sha256(), nullptr);
  CHECK(done == 1);
  digest.resize(size);
  return absl::BytesToHexString(digest);
}

// Reads bodies back, each into the place of the one before.
class BodyReader {
 public:
  BodyReader(Disk& disk, const std::vector<Log::LiveSegment>& segments) : disk_(disk) {
    for (const Log::LiveSegment& live : segments) {
      segments_[live.segment.id.value] = live.segment;
    }
  }

  absl::StatusOr<absl::string_view> Read(const std::vector<Extent>& extents) {
    body_.clear();
    for (const Extent& extent : extents) {
      const size_t before = body_.size();
      body_.resize(before + extent.bytes);
      const auto into = std::as_writable_bytes(std::span(body_).subspan(before));
      const absl::StatusOr<size_t> read =
          disk_.ReadAt(segments_.at(extent.segment.value), into, extent.offset);
      if (!read.ok()) return read.status();
    }
    return absl::string_view(body_.data(), body_.size());
  }

 private:
  Disk& disk_;
  absl::flat_hash_map<uint64_t, OpenSegment> segments_;
  std::vector<char> body_;
};

void Print(const AcceptedRecord& accepted, absl::string_view body) {
  const bool intact = body.size() == accepted.wire_bytes &&
                      XXH3_64bits(body.data(), body.size()) == accepted.body_checksum;
  std::printf("message %016lx %s %s %s\n", accepted.id.value,
              accepted.bounce ? "bounce" : "accepted", intact ? "intact" : "damaged",
              Sha256(FromTheMark(body)).c_str());
  for (const RecipientRecord& recipient : accepted.recipients) {
    std::printf("recipient %s %s\n", recipient.address.c_str(), StateWord(recipient.state).data());
  }
}

absl::Status Census(const std::string& folder) {
  const absl::StatusOr<std::unique_ptr<PosixDisk>> disk = PosixDisk::Open(folder);
  if (!disk.ok()) return disk.status();
  const absl::StatusOr<Recovered> recovered = Recover(**disk);
  if (!recovered.ok()) return recovered.status();
  BodyReader reader(**disk, recovered->segments);
  for (const RecoveredMessage& message : recovered->messages) {
    const absl::StatusOr<absl::string_view> body = reader.Read(message.body);
    if (!body.ok()) return body.status();
    Print(message.accepted, *body);
  }
  for (const Log::LiveSegment& live : recovered->segments) {
    const SegmentId id = live.segment.id;
    std::printf("segment %u %lu\n", id.log(), id.sequence());
  }
  std::printf("census %zu %lu %lu %lu\n", recovered->messages.size(), recovered->records,
              recovered->damaged_records, recovered->incomplete_messages);
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::spool

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: spool_census FOLDER\n");
    return 2;
  }
  const absl::Status done = sluice::spool::Census(argv[1]);
  if (done.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(done.message()).c_str());
  return 1;
}
