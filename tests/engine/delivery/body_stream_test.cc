// A body that is streamed: every byte of it, in order, through a ring of fixed size, and its end
// only once all of it has been read and checks. The test is the disk and the host; the checksum is
// xxHash's own over the whole.

#include "engine/delivery/body_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/random.h"

namespace sluice::delivery {
namespace {

constexpr uint64_t kRead = BodyStream::kReadBytesMax;
constexpr uint64_t kRing = BodyStream::kRingBytes;

// Lines that tell where one is, and the final dot.
std::string Wire(uint64_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) absl::StrAppend(&text, "line ", i, "\r\n");
  text.resize(bytes - 5);
  return text + "\r\n.\r\n";
}

// The log: the body lies in two files, in pieces, with something else between any two.
class Streams : public testing::Test {
 protected:
  void Lay(const std::string& wire, const std::vector<uint64_t>& pieces) {
    files_[0].clear();
    files_[1].clear();
    places_.clear();
    heard_.clear();
    wire_ = wire;
    checksum_ = XXH3_64bits(wire.data(), wire.size());
    uint64_t at = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      std::string& file = files_[i * 2 / pieces.size()];
      file += "between";
      places_.push_back({.descriptor = static_cast<int32_t>(i * 2 / pieces.size()),
                         .offset = static_cast<uint32_t>(file.size()),
                         .bytes = static_cast<uint32_t>(pieces[i])});
      file += wire.substr(at, pieces[i]);
      at += pieces[i];
    }
    ASSERT_EQ(at, wire.size());
  }
  // In pieces as a body arrives: some more than 256 KiB, and a rest.
  void Lay(const std::string& wire, uint64_t piece = kRead + 5000) {
    std::vector<uint64_t> pieces(wire.size() / piece, piece);
    if (wire.size() % piece > 0) pieces.push_back(wire.size() % piece);
    Lay(wire, pieces);
  }
  void Begin() { stream_->Begin(places_, wire_.size(), checksum_); }

  // False: there is none now.
  bool BeginsRead() {
    CHECK(!read_);
    read_ = stream_->NextRead();
    if (!read_) return false;
    EXPECT_FALSE(stream_->NextRead());  // One at a time.
    EXPECT_LE(read_->into.size(), kRead);
    ++reads_;
    return true;
  }
  void EndsRead() {
    const std::string& file = files_[read_->descriptor];
    CHECK(read_->offset + read_->into.size() <= file.size());
    std::memcpy(read_->into.data(), file.data() + read_->offset, read_->into.size());
    const auto bytes = static_cast<int32_t>(read_->into.size());
    read_.reset();
    stream_->OnRead(bytes);
  }
  void FailsRead(int32_t result) {
    read_.reset();
    stream_->OnRead(result);
  }
  // Returns how much the host took.
  uint64_t Sends(uint64_t bytes_max) {
    std::array<io::Bytes, 2> parts;
    const size_t count = stream_->Gather(bytes_max, parts);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      EXPECT_FALSE(parts[i].empty());
      heard_.append(reinterpret_cast<const char*>(parts[i].data()), parts[i].size());
      bytes += parts[i].size();
    }
    EXPECT_LE(bytes, bytes_max);
    stream_->Sent(bytes);
    return bytes;
  }
  // Until nothing more comes: the disk at once, the host in pieces of 64 KiB.
  void Runs() {
    do {
      while (BeginsRead()) EndsRead();
    } while (Sends(64 << 10) > 0);
  }
  bool EndWasSent() const { return absl::string_view(heard_).find("\r\n.\r\n") != heard_.npos; }

  std::unique_ptr<BodyStream> stream_ = std::make_unique<BodyStream>();
  std::string wire_;
  uint64_t checksum_ = 0;
  std::string files_[2];
  std::vector<BodyPlace> places_;
  std::optional<BodyStream::Read> read_;
  int reads_ = 0;
  std::string heard_;
};

TEST_F(Streams, CarryBodiesOfEverySizeAroundTheirBounds) {
  for (const uint64_t bound : {uint64_t{16}, kRead, kRing, 4 * kRing}) {
    for (int64_t off = -6; off <= 6; ++off) {
      for (const uint64_t piece : {uint64_t{1} << 40, kRead, kRead + 1, 2 * kRead, kRead + 5000}) {
        Lay(Wire(bound + static_cast<uint64_t>(off)), piece);
        Begin();
        Runs();
        EXPECT_TRUE(stream_->whole());
        EXPECT_TRUE(heard_ == wire_) << bound << " " << off << " " << piece;
      }
    }
  }
}

TEST_F(Streams, CarryBodiesOfAnyPiecesAtAnyPace) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    const std::string wire = Wire(10 + random.Below(5 * kRing));
    std::vector<uint64_t> pieces;
    for (uint64_t left = wire.size(); left > 0; left -= pieces.back()) {
      const uint64_t most = random.Below(4) == 0 ? 10 : 3 * kRead;
      pieces.push_back(std::min(left, 1 + random.Below(most)));
    }
    Lay(wire, pieces);
    Begin();
    for (int idle = 0; idle < 100;) {
      ++idle;
      if (read_ && random.Below(2) == 0) EndsRead();
      if (!read_ && BeginsRead()) idle = 0;
      if (random.Below(2) == 0 && Sends(1 + random.Below(100000)) > 0) idle = 0;
      ASSERT_TRUE(absl::string_view(wire).substr(0, heard_.size()) == heard_) << seed;
    }
    EXPECT_TRUE(heard_ == wire) << seed;
  }
}

TEST_F(Streams, ReadAheadAsFarAsTheRingAndNoFurther) {
  Lay(Wire(4 * kRing));
  Begin();
  uint64_t read = 0;
  while (BeginsRead()) {
    read += read_->into.size();
    EndsRead();
  }
  EXPECT_GT(read, kRing - kRead);
  EXPECT_LE(read, kRing);
  const int before = reads_;
  Sends(read - kRing + kRead - 1);  // One byte short of room for a read.
  EXPECT_FALSE(BeginsRead());
  Sends(1);
  EXPECT_TRUE(BeginsRead());
  EXPECT_EQ(reads_, before + 1);
}

TEST_F(Streams, KeepWhatIsBeingSentUntilItIs) {
  Lay(Wire(4 * kRing));
  Begin();
  while (BeginsRead()) EndsRead();
  std::array<io::Bytes, 2> parts;
  ASSERT_EQ(stream_->Gather(64 << 10, parts), 1u);
  const std::string lent(reinterpret_cast<const char*>(parts[0].data()), parts[0].size());
  EXPECT_FALSE(BeginsRead());
  EXPECT_EQ(std::memcmp(lent.data(), parts[0].data(), lent.size()), 0);
  EXPECT_TRUE(absl::string_view(wire_).substr(0, lent.size()) == lent);
}

// --- The end is not sent before the rest has been judged.

TEST_F(Streams, HoldTheFinalDotBackUntilTheLastByteIsRead) {
  for (uint64_t last = 1; last <= 6; ++last) {  // In a piece of its own.
    const std::string wire = Wire(1000);
    Lay(wire, {wire.size() - last, last});
    Begin();
    ASSERT_TRUE(BeginsRead());
    EndsRead();
    while (Sends(100) > 0) continue;
    EXPECT_LE(heard_.size(), wire.size() - 3);
    EXPECT_FALSE(EndWasSent());
    ASSERT_TRUE(BeginsRead());
    EXPECT_EQ(Sends(100), 0u);
    EndsRead();
    while (Sends(100) > 0) continue;
    EXPECT_TRUE(heard_ == wire);
  }
}

TEST_F(Streams, SendNoEndOfABodyOfWhichAnyBitIsWrong) {
  Lay(Wire(3 * kRing + 1234));
  const std::string good[] = {files_[0], files_[1]};
  for (const BodyPlace& place : places_) {
    for (const uint32_t at : {0u, place.bytes / 2, place.bytes - 1}) {
      files_[place.descriptor][place.offset + at] ^= 1;
      heard_.clear();
      Begin();
      Runs();
      EXPECT_TRUE(stream_->damaged());
      EXPECT_FALSE(stream_->whole());
      EXPECT_FALSE(EndWasSent());
      EXPECT_LE(heard_.size(), wire_.size() - 3);
      files_[place.descriptor] = good[place.descriptor];
    }
  }
}

TEST_F(Streams, SendNoEndWhereAnyReadFails) {
  Lay(Wire(3 * kRing + 1234));
  Begin();
  Runs();
  const int all = reads_;
  ASSERT_GT(all, 6);
  for (int fails = 1; fails <= all; ++fails) {
    for (const int32_t result : {-EIO, 0, 1}) {
      heard_.clear();
      reads_ = 0;
      Begin();
      do {
        while (BeginsRead()) {
          if (reads_ == fails) {
            FailsRead(result);
          } else {
            EndsRead();
          }
        }
      } while (Sends(64 << 10) > 0);
      EXPECT_EQ(reads_, fails);  // And none after it.
      EXPECT_TRUE(stream_->damaged());
      EXPECT_FALSE(EndWasSent());
    }
  }
}

// Other mail where the body was: its end would be taken for ours.
TEST_F(Streams, SendNothingOfAnEndThatComesTooEarly) {
  const std::string end = "\r\n.\r\n";
  for (int64_t off = -6; off <= 1; ++off) {  // Around the border between two reads.
    std::string wire = Wire(2 * kRing);
    wire.replace(kRead + static_cast<uint64_t>(off), end.size(), end);
    Lay(wire, {kRead, kRead, 2 * kRead});  // The checksum is that of these very bytes.
    Begin();
    Runs();
    EXPECT_TRUE(stream_->damaged()) << off;
    EXPECT_FALSE(EndWasSent()) << off;
  }
}

TEST_F(Streams, SendNothingOfAnEndAtTheVeryBeginning) {
  Lay(".\r\n" + Wire(1000));
  Begin();
  Runs();
  EXPECT_TRUE(stream_->damaged());
  EXPECT_EQ(heard_, "");
}

TEST_F(Streams, SeeAnEndThatComesInSmallPieces) {
  const std::string wire = "Subject: x\r\n.\r\nmore\r\n.\r\n";
  for (const uint64_t piece : {1, 2, 3, 4, 5, 7}) {
    Lay(wire, piece);
    Begin();
    Runs();
    EXPECT_TRUE(stream_->damaged()) << piece;
    EXPECT_FALSE(EndWasSent());
  }
}

TEST_F(Streams, TakeADotInALineForWhatItIs) {
  const std::string wire = "..\r\n...\r\na.\r\n\r\n..x\r\n.. \r\n.\r\n";
  for (const uint64_t piece : {1, 2, 3, 4, 5, 100}) {
    Lay(wire, piece);
    Begin();
    Runs();
    EXPECT_TRUE(stream_->whole());
    EXPECT_EQ(heard_, wire);
  }
}

TEST_F(Streams, AreAsNewForTheNextBody) {
  Lay(Wire(kRing));
  Begin();
  ASSERT_TRUE(BeginsRead());
  FailsRead(-EIO);
  ASSERT_TRUE(stream_->damaged());
  Begin();
  Runs();
  EXPECT_TRUE(stream_->whole());
  EXPECT_TRUE(heard_ == wire_);
}

}  // namespace
}  // namespace sluice::delivery
