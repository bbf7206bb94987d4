#include "tests/fuzz/der_tree.h"

#include <utility>

namespace sluice::fuzz {
namespace {

constexpr uint8_t kConstructed = 0x20;
constexpr uint8_t kOctetString = 0x04;
constexpr size_t kNodesMax = 4096;

// Takes tag and length from the front; false where they aren't of the definite form.
bool TakeHeader(absl::string_view& der, uint8_t& tag, size_t& length) {
  if (der.size() < 2) return false;
  tag = static_cast<uint8_t>(der[0]);
  length = static_cast<uint8_t>(der[1]);
  der.remove_prefix(2);
  if (length < 0x80) return length <= der.size();
  const size_t octets = length & 0x7f;
  if (octets == 0 || octets > 3 || octets > der.size()) return false;
  length = 0;
  for (size_t i = 0; i < octets; ++i) length = length << 8 | static_cast<uint8_t>(der[i]);
  der.remove_prefix(octets);
  return length <= der.size();
}

void WriteLength(size_t length, std::string& der) {
  if (length < 0x80) {
    der.push_back(static_cast<char>(length));
  } else if (length < 0x100) {
    der.push_back(static_cast<char>(0x81));
    der.push_back(static_cast<char>(length));
  } else {
    const bool two = length < 0x10000;
    der.push_back(static_cast<char>(two ? 0x82 : 0x83));
    if (!two) der.push_back(static_cast<char>(length >> 16));
    der.push_back(static_cast<char>(length >> 8));
    der.push_back(static_cast<char>(length));
  }
}

}  // namespace

std::vector<DerNode> ReadDer(absl::string_view der, int depth_left) {
  std::vector<DerNode> nodes;
  if (depth_left == 0) return nodes;
  while (!der.empty()) {
    DerNode node;
    size_t length = 0;
    if (!TakeHeader(der, node.tag, length) || nodes.size() == kNodesMax) return {};
    const absl::string_view content = der.substr(0, length);
    der.remove_prefix(length);
    if ((node.tag & kConstructed) != 0 || node.tag == kOctetString) {
      node.children = ReadDer(content, depth_left - 1);
    }
    if (node.children.empty()) node.content = std::string(content);
    nodes.push_back(std::move(node));
  }
  return nodes;
}

void WriteDer(const DerNode& node, std::string& der) {
  std::string content = node.content;
  for (const DerNode& child : node.children) WriteDer(child, content);
  der.push_back(static_cast<char>(node.tag));
  WriteLength(content.size(), der);
  der += content;
}

std::vector<DerNode*> AllNodes(DerNode& root) {
  std::vector<DerNode*> nodes = {&root};
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (DerNode& child : nodes[i]->children) nodes.push_back(&child);
  }
  return nodes;
}

}  // namespace sluice::fuzz
