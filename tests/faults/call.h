// The calls of the engine to the kernel that can be made to fail, and their names on the command
// line.

#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace sluice::faults {

enum class Call : uint8_t {
  // Through io::Io. Of an accept and a receive each completion counts: they stay armed.
  kLogWrite,
  kLogSync,
  kBodyRead,
  kRecordRead,
  kListen,
  kAccept,
  kIntakeReceive,
  kIntakeSend,
  kOpenStream,
  kConnect,
  kHostReceive,
  kHostSend,
  // Blocking ones: of the spool's folder, the delivery log, and the start of threads.
  kOpen,
  kMakeFolder,
  kAllocate,
  kSyncFile,
  kSyncFolder,
  kRename,
  kRemove,
  kReadFolder,
  kReadSegment,
  kDeliveryLogOpen,
  kDeliveryLogWrite,
  kThread,
};

inline constexpr std::array<absl::string_view, 24> kCallNames = {"log_write",
                                                                 "log_sync",
                                                                 "body_read",
                                                                 "record_read",
                                                                 "listen",
                                                                 "accept",
                                                                 "intake_receive",
                                                                 "intake_send",
                                                                 "open_stream",
                                                                 "connect",
                                                                 "host_receive",
                                                                 "host_send",
                                                                 "open",
                                                                 "make_folder",
                                                                 "allocate",
                                                                 "sync_file",
                                                                 "sync_folder",
                                                                 "rename",
                                                                 "remove",
                                                                 "read_folder",
                                                                 "read_segment",
                                                                 "delivery_log_open",
                                                                 "delivery_log_write",
                                                                 "thread"};
static_assert(static_cast<size_t>(Call::kThread) + 1 == kCallNames.size());

inline absl::string_view NameOf(Call call) {
  return kCallNames[static_cast<size_t>(call)];
}

inline std::optional<Call> CallNamed(absl::string_view name) {
  for (size_t i = 0; i < kCallNames.size(); ++i) {
    if (kCallNames[i] == name) return static_cast<Call>(i);
  }
  return std::nullopt;
}

}  // namespace sluice::faults
