#include "engine/delivery/record_reader.h"

#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

bool RecordReader::Start(const Purpose& purpose, const spool::Extent& place) {
  CHECK(place.bytes > 0);
  Read* read = reads_.Take();
  if (read == nullptr) return false;
  read->purpose = purpose;
  read->place = place;
  read->bytes.resize(place.bytes);
  read->done = 0;
  Continue(*read);
  return true;
}

void RecordReader::Continue(Read& read) {
  const int32_t descriptor = log_.DescriptorOf(read.place.segment);
  if (descriptor < 0) return Finish(read, false);
  io_.Read(io::MakeOpId(static_cast<uint8_t>(Tag::kRecordRead), reads_.HandleOf(read)),
           io::File{descriptor}, std::span(read.bytes).subspan(read.done),
           read.place.offset + read.done);
}

void RecordReader::OnCompletion(const io::Completion& completion) {
  Read* read = reads_.Find(completion.op.handle());
  CHECK(read != nullptr);
  if (completion.result <= 0) return Finish(*read, false);
  read->done += static_cast<uint32_t>(completion.result);
  CHECK(read->done <= read->bytes.size());
  if (read->done == read->bytes.size()) return Finish(*read, true);
  Continue(*read);
}

void RecordReader::Finish(Read& read, bool good) {
  read.good = good;
  finished_.push_back(&read);
}

bool RecordReader::Take(Result& result) {
  if (taken_ > 0) reads_.Release(*finished_[taken_ - 1]);
  if (taken_ == finished_.size()) {
    finished_.clear();
    taken_ = 0;
    return false;
  }
  const Read& read = *finished_[taken_++];
  result.purpose = read.purpose;
  result.place = read.place;
  result.bytes = read.good ? spool::Bytes(read.bytes) : spool::Bytes();
  return true;
}

}  // namespace sluice::delivery
