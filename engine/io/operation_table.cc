#include "engine/io/operation_table.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::io {
namespace {

constexpr uint8_t kTagOfImplementation = 0xff;

uint64_t KeyOf(OpId op) {
  return uint64_t{op.tag} << 56 | uint64_t{op.generation} << 32 | op.slot;
}

// The kernel's results are ints.
constexpr size_t kTransferBytesMax = INT32_MAX;

}  // namespace

OperationTable::OperationTable(Capacity capacity)
    : slots_(capacity.operations),
      few_parts_(capacity.operations),
      many_parts_(capacity.many_parts) {
  by_id_.reserve(capacity.operations);
}

Operation& OperationTable::Begin(OpId op, OperationKind kind, int32_t descriptor) {
  CHECK(op.tag != kTagOfImplementation);
  Operation* operation = slots_.Take();
  CHECK(operation != nullptr);
  CHECK(!operation->starved.linked());
  *operation = Operation{};
  operation->op = op;
  operation->kind = kind;
  operation->descriptor = descriptor;
  const bool was_not_in_flight = by_id_.emplace(KeyOf(op), operation).second;
  CHECK(was_not_in_flight);
  return *operation;
}

void OperationTable::SetParts(Operation& operation, std::span<const Bytes> parts) {
  const auto full = [](const Bytes& part) { return !part.empty(); };
  const size_t count = static_cast<size_t>(std::count_if(parts.begin(), parts.end(), full));
  CHECK(count > 0);
  iovec* next = TakeParts(operation, count);
  operation.left = {next, count};
  size_t bytes = 0;
  for (const Bytes& part : parts) {
    if (part.empty()) continue;
    *next++ = {.iov_base = const_cast<std::byte*>(part.data()), .iov_len = part.size()};
    bytes += part.size();
  }
  CHECK(bytes <= kTransferBytesMax);
}

void OperationTable::End(Operation& operation) {
  CHECK(!operation.starved.linked());
  if (operation.few_parts != nullptr) few_parts_.Release(*operation.few_parts);
  if (operation.many_parts != nullptr) many_parts_.Release(*operation.many_parts);
  const size_t erased = by_id_.erase(KeyOf(operation.op));
  CHECK(erased == 1);
  slots_.Release(operation);
}

Operation* OperationTable::Find(OpId op) {
  const auto found = by_id_.find(KeyOf(op));
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<OpId> OperationTable::Ids() {
  std::vector<OpId> ids;
  slots_.ForEach([&ids](const Operation& operation) { ids.push_back(operation.op); });
  return ids;
}

iovec* OperationTable::TakeParts(Operation& operation, size_t count) {
  if (count == 1) return &operation.one_part;
  if (count <= kSendPartsMax) {
    operation.few_parts = few_parts_.Take();
    CHECK(operation.few_parts != nullptr);
    return operation.few_parts->data();
  }
  CHECK(count <= kWritePartsMax);
  operation.many_parts = many_parts_.Take();
  CHECK(operation.many_parts != nullptr);
  return operation.many_parts->data();
}

}  // namespace sluice::io
