// Reads bodies back from the log into memory, and checks them against the checksum of their
// promise.
//
// One read in flight a message, and messages side by side up to kReadsMax. From Start until Take
// has given its result, `reading` is set: the message must not be forgotten then, and its body is
// not to be touched.

#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/slab.h"
#include "engine/delivery/body.h"
#include "engine/delivery/message.h"
#include "engine/io/io.h"
#include "engine/spool/log.h"

namespace sluice::delivery {

class BodyReader {
 public:
  static constexpr uint32_t kReadsMax = 4096;

  // All lent for the reader's life.
  BodyReader(io::Io& io, spool::Log& log, BlockPool& pool)
      : io_(io), log_(log), pool_(pool), reads_(kReadsMax) {}

  // Starts to read the message's body into message.body, or says false: too many reads at once, or
  // no memory. Sets message.reading.
  bool Start(Message& message);

  // A read has completed.
  void OnCompletion(const io::Completion& completion);

  // The next message whose body has been read, or could not be (`good` false; its body is empty
  // then).
  struct Result {
    Message* message = nullptr;
    bool good = false;
  };
  bool Take(Result& result);

  uint32_t reading() const { return reads_.taken(); }

  // Says so on stderr.
  static void TellUnreadable(const Message& message);

 private:
  struct Read {
    Message* message = nullptr;
    size_t extent = 0;           // Which one is being read,
    uint64_t extent_offset = 0;  // how far,
    uint64_t body_offset = 0;    // and where that is in the body.
    uint32_t asked = 0;          // Bytes of the read in flight.
  };
  void Continue(Read& read);
  void Finish(Read& read, bool good);
  static bool ChecksumHolds(const Message& message);

  io::Io& io_;
  spool::Log& log_;
  BlockPool& pool_;
  Slab<Read> reads_;
  std::vector<Result> finished_;
  size_t taken_ = 0;
};

}  // namespace sluice::delivery
