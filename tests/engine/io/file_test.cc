// Writes, reads and syncs: over a temporary file, and over a pipe where the kernel is to do only a
// part at a time.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

class FileTest : public RingTest {
 protected:
  void SetUp() override {
    RingTest::SetUp();
    temporary_ = tmpfile();
    ASSERT_NE(temporary_, nullptr);
    file_ = File{fileno(temporary_)};
  }
  void TearDown() override {
    RingTest::TearDown();
    if (temporary_ != nullptr) fclose(temporary_);
  }

  OpId Write(File file, const std::string& text, uint64_t offset) {
    const OpId op = NewId();
    const Bytes part = BytesOf(text);
    io_->Write(op, file, {&part, 1}, offset);
    return op;
  }
  OpId Read(File file, std::string& into, uint64_t offset) {
    const OpId op = NewId();
    io_->Read(op, file, std::as_writable_bytes(std::span(into)), offset);
    return op;
  }

  FILE* temporary_ = nullptr;
  File file_;
};

TEST_F(FileTest, ReadsWhatWasWrittenAndSynced) {
  const std::string text = Pattern(100'000);
  EXPECT_EQ(Next(Write(file_, text, 4096)).result, 100'000);
  const OpId sync = NewId();
  io_->Sync(sync, file_);
  const Event synced = Next(sync);
  EXPECT_EQ(synced.result, 0);
  EXPECT_FALSE(synced.more);
  std::string read(100'000, '\0');
  EXPECT_EQ(Next(Read(file_, read, 4096)).result, 100'000);
  EXPECT_EQ(read, text);
  struct stat status {};
  ASSERT_EQ(fstat(file_.descriptor, &status), 0);
  EXPECT_EQ(status.st_size, 104'096);
}

TEST_F(FileTest, GathersAsManyPartsAsTheKernelTakes) {
  for (const size_t count : {size_t{2}, kSendPartsMax, kSendPartsMax + 1, kWritePartsMax}) {
    std::vector<std::string> records;
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      records.push_back(std::string(1 + i % 300, static_cast<char>('a' + i % 26)));
      text += records.back();
    }
    std::vector<Bytes> parts;
    for (const std::string& record : records) parts.push_back(BytesOf(record));
    const OpId write = NewId();
    io_->Write(write, file_, parts, 0);
    EXPECT_EQ(Next(write).result, static_cast<int>(text.size())) << count;
    std::string read(text.size(), '\0');
    EXPECT_EQ(Next(Read(file_, read, 0)).result, static_cast<int>(text.size()));
    EXPECT_EQ(read, text) << count;
  }
}

TEST_F(FileTest, AReadPastTheEndIsShort) {
  EXPECT_EQ(Next(Write(file_, "0123456789", 0)).result, 10);
  std::string read(8, '.');
  EXPECT_EQ(Next(Read(file_, read, 2)).result, 8);
  EXPECT_EQ(read, "23456789");
  EXPECT_EQ(Next(Read(file_, read, 3)).result, 7);
  EXPECT_EQ(read.substr(0, 7), "3456789");
  EXPECT_EQ(Next(Read(file_, read, 10)).result, 0);
  EXPECT_EQ(Next(Read(file_, read, 1000)).result, 0);
}

TEST_F(FileTest, AFullDiskIsAnError) {
  const File full{open("/dev/full", O_WRONLY | O_CLOEXEC)};
  ASSERT_TRUE(full);
  const Event event = Next(Write(full, "mail", 0));
  EXPECT_EQ(event.result, -ENOSPC);
  EXPECT_FALSE(event.more);
  close(full.descriptor);
}

TEST_F(FileTest, TheWrongDescriptorIsAnError) {
  const File unwritable{open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const File unreadable{open("/dev/null", O_WRONLY | O_CLOEXEC)};
  ASSERT_TRUE(unwritable);
  ASSERT_TRUE(unreadable);
  EXPECT_EQ(Next(Write(unwritable, "mail", 0)).result, -EBADF);
  std::string read(4, '.');
  EXPECT_EQ(Next(Read(unreadable, read, 0)).result, -EBADF);
  close(unwritable.descriptor);
  close(unreadable.descriptor);
  EXPECT_EQ(Next(Write(unwritable, "mail", 0)).result, -EBADF);
  const OpId sync = NewId();
  io_->Sync(sync, unwritable);
  EXPECT_EQ(Next(sync).result, -EBADF);
}

// A pipe takes 64 KiB, then the kernel reports a short write; the rest is ours to write.
TEST_F(FileTest, AShortWriteGoesOn) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string block = Pattern(9'973);
  std::string expected;
  std::vector<Bytes> parts;
  for (int i = 0; i < 50; ++i) {
    parts.push_back(BytesOf(block));
    expected += block;
  }
  const OpId write = NewId();
  io_->Write(write, File{ends[1]}, parts, 0);
  std::string read(expected.size(), '\0');
  const OpId read_back = Read(File{ends[0]}, read, 0);
  EXPECT_EQ(Next(write).result, 50 * 9'973);
  EXPECT_EQ(Next(read_back).result, 50 * 9'973);
  EXPECT_EQ(read, expected);
  EXPECT_GT(io_->counters().continued, 0u);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(FileTest, AShortReadGoesOnToTheEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::string read(64, '.');
  const OpId read_back = Read(File{ends[0]}, read, 0);
  for (const char* piece : {"Received", ": from ", "mx.example"}) {
    ASSERT_GT(write(ends[1], piece, strlen(piece)), 0);
    Poll();
    EXPECT_EQ(Waiting(read_back), 0u);
  }
  close(ends[1]);
  EXPECT_EQ(Next(read_back).result, 25);
  EXPECT_EQ(read.substr(0, 25), "Received: from mx.example");
  close(ends[0]);
}

TEST_F(FileTest, AWriteThatFailsHalfwayIsAnError) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  signal(SIGPIPE, SIG_IGN);
  const std::string text = Pattern(1 << 20);
  const OpId write = Write(File{ends[1]}, text, 0);
  Poll();
  EXPECT_EQ(Waiting(write), 0u);
  close(ends[0]);
  EXPECT_EQ(Next(write).result, -EPIPE);
  close(ends[1]);
}

}  // namespace
}  // namespace sluice::io
