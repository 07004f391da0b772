#include "pickle_node.h"

namespace ddpm::io {
namespace {

constexpr int kMaxDepth = 64;

using Kind = PickleNode::Kind;

// Makes trees of nodes; budget_ bounds what sharing can multiply.
class TreeMaker {
 public:
  explicit TreeMaker(const PickleBytes& bytes) : bytes_(bytes) {}

  TorchValue finished(const PickleNode& node, int depth) {
    const size_t cost = 1 + node.text.size() / 16;
    if (depth > kMaxDepth || cost > budget_)
      bytes_.fail("nests its values too deeply, or in circles");
    budget_ -= cost;
    TorchValue value;
    value.integer = node.integer;
    value.real = node.real;
    switch (node.kind) {
      case Kind::kNone:
        break;
      case Kind::kBool:
        value.kind = TorchValue::Kind::kBool;
        break;
      case Kind::kInteger:
        value.kind = TorchValue::Kind::kInteger;
        break;
      case Kind::kReal:
        value.kind = TorchValue::Kind::kReal;
        break;
      case Kind::kText:
        value.kind = TorchValue::Kind::kText;
        value.text = node.text;
        break;
      case Kind::kList:
      case Kind::kTuple:
        value.kind = TorchValue::Kind::kList;
        for (const PickleNode* item : node.items) value.items.push_back(finished(*item, depth + 1));
        break;
      case Kind::kDict:
        value.kind = TorchValue::Kind::kDict;
        for (size_t i = 0; i + 1 < node.items.size(); i += 2)
          value.entries.emplace_back(key_of(*node.items[i]),
                                     finished(*node.items[i + 1], depth + 1));
        break;
      case Kind::kTensor:
        value.kind = TorchValue::Kind::kTensor;
        value.tensor = node.tensor;
        break;
      case Kind::kStorage:
        bytes_.refuse("a bare storage");
      case Kind::kStorageType:
        bytes_.refuse("a type of storage as a value");
      case Kind::kFunction:
        bytes_.refuse(node.text + " as a value");
    }
    return value;
  }

 private:
  std::string key_of(const PickleNode& node) const {
    if (node.kind == Kind::kText) return node.text;
    if (node.kind == Kind::kInteger) return fmt::format("{}", node.integer);
    bytes_.refuse("a dict whose keys are neither texts nor whole numbers");
  }

  const PickleBytes& bytes_;
  size_t budget_ = kMaxNodes;
};

}  // namespace

TorchValue tree_of(const PickleNode& root, const PickleBytes& bytes) {
  return TreeMaker(bytes).finished(root, 0);
}

}  // namespace ddpm::io
