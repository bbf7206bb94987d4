// DER as a tree that can be changed and written again with lengths that fit, for mutations that a
// parser doesn't throw away at its first octet.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice::fuzz {

struct DerNode {
  uint8_t tag = 0;
  std::string content;            // Of a node without children.
  std::vector<DerNode> children;  // Also of an OCTET STRING that holds DER, as extensions do.
};

// The nodes that `der` is wholly made of; empty if it isn't, or goes too deep.
std::vector<DerNode> ReadDer(absl::string_view der, int depth_left = 16);

void WriteDer(const DerNode& node, std::string& der);

// Every node below, the root first.
std::vector<DerNode*> AllNodes(DerNode& root);

}  // namespace sluice::fuzz
