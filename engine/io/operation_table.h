// The operations in flight, found by the caller's id (to cancel) and by their handle (which travels
// through the kernel). Bounded: more than its capacity is a fault of the caller, whose sessions are
// bounded below it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/base/slab.h"
#include "engine/io/operation.h"

namespace sluice::io {

class OperationTable {
 public:
  struct Capacity {
    uint32_t operations;
    uint32_t many_parts;  // Those with more than kSendPartsMax parts.
  };
  explicit OperationTable(Capacity capacity);

  // A slot with nothing in it but these. The same id must not be in flight (CHECK).
  Operation& Begin(OpId op, OperationKind kind, int32_t descriptor);
  // Copies the list of parts, without the empty ones; the bytes stay the caller's.
  void SetParts(Operation& operation, std::span<const Bytes> parts);
  void End(Operation& operation);

  Operation* Find(OpId op);
  Operation* Find(Handle handle) { return slots_.Find(handle); }
  Handle HandleOf(const Operation& operation) { return slots_.HandleOf(operation); }

  uint32_t size() const { return slots_.taken(); }
  std::vector<OpId> Ids();

 private:
  iovec* TakeParts(Operation& operation, size_t count);

  Slab<Operation> slots_;
  Slab<FewParts> few_parts_;
  Slab<ManyParts> many_parts_;
  absl::flat_hash_map<uint64_t, Operation*> by_id_;
};

}  // namespace sluice::io
