// Both paths on any bytes. What is accepted must be printable ASCII, within its bounds, and be read
// back from its own wire form as the same mailbox.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "engine/smtp/address.h"

namespace sluice::smtp {
namespace {

void CheckMailbox(const Mailbox& mailbox) {
  CHECK(!mailbox.destination.empty());
  CHECK(mailbox.address.size() + 2 <= kPathBytesMax);
  for (const char c : mailbox.address) CHECK(c >= 0x20 && c <= 0x7e);
  CHECK(NormalizeDomain(mailbox.destination).value() == mailbox.destination);

  const std::string wire = absl::StrCat("<", mailbox.address, ">");
  absl::string_view again = wire;
  const absl::StatusOr<Mailbox> read = ParseForwardPath(again, "");
  CHECK(read.ok());
  CHECK(again.empty());
  CHECK(read->address == mailbox.address);
  CHECK(read->destination == mailbox.destination);
}

}  // namespace
}  // namespace sluice::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::smtp;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  absl::string_view input = bytes;
  const absl::StatusOr<Mailbox> sender = ParseReversePath(input);
  CHECK(sender.ok() == (input.size() < bytes.size()));
  if (sender.ok() && !sender->null()) CheckMailbox(*sender);

  input = bytes;
  const absl::StatusOr<Mailbox> recipient = ParseForwardPath(input, "mx.example.net");
  CHECK(recipient.ok() == (input.size() < bytes.size()));
  if (recipient.ok()) CheckMailbox(*recipient);
  return 0;
}
