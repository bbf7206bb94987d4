// The sentence for the operator: for each refusal of the kernel, its name, the likely cause and
// what to change.

#include "engine/io/uring_probe.h"

#include <errno.h>

#include <string>

#include "absl/strings/match.h"
#include "engine/io/uring_io.h"
#include "gtest/gtest.h"

namespace sluice::io {
namespace {

UringSurroundings Surroundings() {
  return {.kernel_release = "5.10.0-30-amd64",
          .io_uring_disabled = std::nullopt,
          .seccomp_filter = false,
          .locked_bytes_max = 64 << 10,
          .descriptors_max = 1024};
}

void ExpectSays(const absl::Status& status, std::initializer_list<absl::string_view> words) {
  EXPECT_FALSE(status.ok());
  for (const absl::string_view word : words) {
    EXPECT_TRUE(absl::StrContains(status.message(), word)) << word << " in: " << status.message();
  }
}

TEST(UringProbeTest, TheSysctl) {
  UringSurroundings off = Surroundings();
  off.io_uring_disabled = 2;
  off.seccomp_filter = true;  // The sysctl is the surer cause.
  ExpectSays(UringRefused("io_uring_setup", EPERM, off),
             {"io_uring_setup", "EPERM", "kernel.io_uring_disabled is 2", "set it to 0"});
  UringSurroundings group = Surroundings();
  group.io_uring_disabled = 1;
  ExpectSays(UringRefused("io_uring_setup", EPERM, group),
             {"kernel.io_uring_disabled is 1", "kernel.io_uring_group"});
}

TEST(UringProbeTest, SeccompRefusesOrHides) {
  UringSurroundings container = Surroundings();
  container.seccomp_filter = true;
  container.io_uring_disabled = 0;
  ExpectSays(UringRefused("io_uring_setup", EPERM, container), {"EPERM", "seccomp", "allow"});
  ExpectSays(UringRefused("io_uring_setup", ENOSYS, container), {"ENOSYS", "seccomp", "allow"});
}

TEST(UringProbeTest, WithoutAFilterItIsTheKernelOrASecurityModule) {
  ExpectSays(UringRefused("io_uring_setup", EPERM, Surroundings()), {"SELinux"});
  ExpectSays(UringRefused("io_uring_setup", ENOSYS, Surroundings()),
             {"5.10.0-30-amd64", "without io_uring"});
}

TEST(UringProbeTest, AnOldKernelDoesNotKnowTheFlags) {
  ExpectSays(UringRefused("io_uring_setup", EINVAL, Surroundings()),
             {"EINVAL", "5.10.0-30-amd64", "6.1 or newer"});
}

TEST(UringProbeTest, Limits) {
  ExpectSays(UringRefused("io_uring_setup", ENOMEM, Surroundings()),
             {"ENOMEM", "64 KiB", "LimitMEMLOCK"});
  ExpectSays(UringRefused("eventfd", EMFILE, Surroundings()),
             {"eventfd", "EMFILE", "1024", "LimitNOFILE"});
  ExpectSays(UringRefused("eventfd", ENFILE, Surroundings()), {"ENFILE", "fs.file-max"});
}

TEST(UringProbeTest, AnErrorThatNobodyExpected) {
  ExpectSays(UringRefused("io_uring_setup", EXDEV, Surroundings()), {"EXDEV", "5.10.0-30-amd64"});
  ExpectSays(UringRefused("io_uring_setup", 4095, Surroundings()), {"4095"});
}

TEST(UringProbeTest, TheSurroundingsOfThisProcess) {
  const UringSurroundings here = ReadUringSurroundings();
  EXPECT_FALSE(here.kernel_release.empty());
  EXPECT_GT(here.descriptors_max, 0u);
}

}  // namespace
}  // namespace sluice::io
