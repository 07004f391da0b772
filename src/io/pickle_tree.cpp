#include "pickle_node.h"

namespace ddpm::io {
namespace {

constexpr int kMaxDepth = 64;

using Kind = PickleNode::Kind;

// Turns nodes into trees; budget_ limits the copies of shared nodes.
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
          add_entry(value, *node.items[i], *node.items[i + 1], depth + 1);
        break;
      case Kind::kTensor:
        value.kind = TorchValue::Kind::kTensor;
        value.tensor = node.tensor;
        break;
      case Kind::kStorage:
        return opaque("a bare storage");
      case Kind::kStorageType:
        return opaque("a type of storage");
      case Kind::kDtype:
        return opaque("numpy.dtype");
      case Kind::kArray:
        return opaque("an array of numpy's");
      case Kind::kFunction:
      case Kind::kOpaque:
        return opaque(node.text);
    }
    return value;
  }

 private:
  static TorchValue opaque(std::string what) {
    TorchValue value;
    value.kind = TorchValue::Kind::kOpaque;
    value.text = std::move(what);
    return value;
  }
  // Keys other than strings and integers are not those of weights, and are skipped.
  void add_entry(TorchValue& dict, const PickleNode& key, const PickleNode& item, int depth) {
    if (key.kind != Kind::kText && key.kind != Kind::kInteger) return;
    dict.entries.emplace_back(key.kind == Kind::kText ? key.text : fmt::format("{}", key.integer),
                              finished(item, depth));
  }

  const PickleBytes& bytes_;
  size_t budget_ = kMaxNodes;
};

}  // namespace

TorchValue tree_of(const PickleNode& root, const PickleBytes& bytes) {
  return TreeMaker(bytes).finished(root, 0);
}

}  // namespace ddpm::io
