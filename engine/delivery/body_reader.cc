#include "engine/delivery/body_reader.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "engine/base/check.h"
#include "engine/base/xxh3.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

bool BodyReader::Start(Message& message) {
  CHECK(!message.reading);
  CHECK(message.body.empty());
  if (reads_.full()) return false;
  if (!message.body.Reserve(message.wire_bytes, pool_)) return false;
  Read& read = *reads_.Take();
  read = Read{.message = &message};
  message.reading = true;
  Continue(read);
  return true;
}

void BodyReader::Continue(Read& read) {
  Message& message = *read.message;
  while (read.extent < message.extents.size()) {
    const spool::Extent& extent = message.extents[read.extent];
    const uint64_t left = extent.bytes - read.extent_offset;
    if (left == 0) {
      ++read.extent;
      read.extent_offset = 0;
      continue;
    }
    const int32_t descriptor = log_.DescriptorOf(extent.segment);
    if (descriptor < 0) return Finish(read, false);
    const std::span<std::byte> into = message.body.Writable(read.body_offset, left);
    read.asked = static_cast<uint32_t>(into.size());
    io_.Read(io::MakeOpId(static_cast<uint8_t>(Tag::kBodyRead), reads_.HandleOf(read)),
             io::File{descriptor}, into, extent.offset + read.extent_offset);
    return;
  }
  Finish(read, read.body_offset == message.wire_bytes && ChecksumHolds(message));
}

void BodyReader::OnCompletion(const io::Completion& completion) {
  Read* read = reads_.Find(completion.op.handle());
  CHECK(read != nullptr);
  if (completion.result != static_cast<int32_t>(read->asked)) return Finish(*read, false);
  read->extent_offset += read->asked;
  read->body_offset += read->asked;
  Continue(*read);
}

void BodyReader::Finish(Read& read, bool good) {
  Message& message = *read.message;
  if (!good) {
    if (message.failed_reads == 0) TellUnreadable(message);
    message.body.Release(pool_);
  }
  finished_.push_back({&message, good});
  reads_.Release(read);
}

void BodyReader::TellUnreadable(const Message& message) {
  std::fprintf(stderr, "sluice: message %s cannot be read back from the spool\n",
               message.id.ToString().c_str());
}

bool BodyReader::Take(Result& result) {
  if (taken_ == finished_.size()) {
    finished_.clear();
    taken_ = 0;
    return false;
  }
  result = finished_[taken_++];
  result.message->reading = false;
  return true;
}

bool BodyReader::ChecksumHolds(const Message& message) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  std::array<io::Bytes, 16> parts;
  for (uint64_t offset = 0; offset < message.wire_bytes;) {
    const size_t count = message.body.Gather(offset, message.wire_bytes - offset, parts);
    for (size_t i = 0; i < count; ++i) {
      XXH3_64bits_update(&state, parts[i].data(), parts[i].size());
      offset += parts[i].size();
    }
  }
  return XXH3_64bits_digest(&state) == message.body_checksum;
}

}  // namespace sluice::delivery
