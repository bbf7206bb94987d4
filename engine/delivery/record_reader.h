// Reads records back from the log: the promise of a message that is needed again, the deferrals of
// a parcel that is given up. At most kReadsMax at once.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/slab.h"
#include "engine/io/io.h"
#include "engine/spool/log.h"

namespace sluice::delivery {

struct KeptMessage;
struct Parcel;

class RecordReader {
 public:
  static constexpr uint32_t kReadsMax = 1024;

  // Both lent for the reader's life.
  RecordReader(io::Io& io, const spool::Log& log) : io_(io), log_(log), reads_(kReadsMax) {}

  // What is read, and for whom.
  enum class What : uint8_t {
    kPromise,       // Of the message, which is loaded.
    kDeferral,      // Of a parcel of the message, which is to be moved.
    kLastDeferral,  // Of the parcel that is out, and given up.
  };
  struct Purpose {
    What what = What::kPromise;
    KeptMessage* message = nullptr;
    Parcel* parcel = nullptr;
  };
  // False: too many at once.
  bool Start(const Purpose& purpose, const spool::Extent& place);

  void OnCompletion(const io::Completion& completion);

  // The next read that has ended. `bytes` are the records as they stand on the disk, empty if they
  // could not be read; lent until the next call.
  struct Result {
    Purpose purpose;
    spool::Extent place;
    spool::Bytes bytes;
  };
  bool Take(Result& result);

  uint32_t reading() const { return reads_.taken(); }
  bool full() const { return reads_.full(); }
  bool has_results() const { return !finished_.empty(); }

 private:
  struct Read {
    Purpose purpose;
    spool::Extent place;
    std::vector<std::byte> bytes;
    uint32_t done = 0;
    bool good = false;
  };
  void Continue(Read& read);
  void Finish(Read& read, bool good);

  io::Io& io_;
  const spool::Log& log_;
  Slab<Read> reads_;
  std::vector<Read*> finished_;
  size_t taken_ = 0;
};

}  // namespace sluice::delivery
