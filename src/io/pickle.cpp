#include "pickle.h"

#include "pickle_node.h"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

std::optional<torch::ScalarType> storage_type(const std::string& global) {
  for (const StorageTypeName& t : kStorageTypes) {
    if (global == std::string("torch.") + t.storage) return t.type;
    if (global == std::string("torch.cuda.") + t.storage) return t.type;
  }
  return std::nullopt;
}

constexpr const char* kFromType = "torch._tensor._rebuild_from_type_v2";
constexpr std::array<const char*, 8> kFunctions = {"collections.OrderedDict",
                                                   "collections.defaultdict",
                                                   "torch._utils._rebuild_tensor",
                                                   "torch._utils._rebuild_tensor_v2",
                                                   "torch._utils._rebuild_parameter",
                                                   "torch._utils._rebuild_parameter_with_state",
                                                   "torch.Size",
                                                   kFromType};

constexpr std::array<const char*, 4> kNumpyFunctions = {"numpy.core.multiarray._reconstruct",
                                                        "numpy._core.multiarray._reconstruct",
                                                        "numpy.ndarray", "numpy.dtype"};

template <size_t N>
bool is_one_of(const std::array<const char*, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Python's stack machine without its calls: it knows only the functions of these lists. Any other
// function and its result are opaque: a name that is never looked up.
class Machine : private PickleBytes {
 public:
  Machine(std::span<const uint8_t> bytes, const std::string& name, const StorageLoader& storage,
          NumpyArrays arrays)
      : PickleBytes(bytes, name), load_storage_(storage), arrays_(arrays) {}

  TorchValue run() {
    while (!step(take_byte())) {
    }
    return tree_of(*pop(), *this);
  }
  using PickleBytes::position;

 private:
  using Kind = PickleNode::Kind;

  PickleNode* make(Kind kind) {
    if (nodes_.size() >= kMaxNodes) fail("holds more values than any network has");
    PickleNode& node = nodes_.emplace_back();
    node.kind = kind;
    return &node;
  }
  void push(PickleNode* node) { stack_.push_back(node); }
  PickleNode* push_new(Kind kind) {
    push(make(kind));
    return stack_.back();
  }
  void push_integer(int64_t value) { push_new(Kind::kInteger)->integer = value; }
  void push_text(std::string text) { push_new(Kind::kText)->text = std::move(text); }
  void push_opaque(std::string what) { push_new(Kind::kOpaque)->text = std::move(what); }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleNode* pop() {
    if (stack_.size() <= floor()) damaged();
    PickleNode* node = stack_.back();
    stack_.pop_back();
    return node;
  }
  PickleNode* top(Kind kind) {
    if (stack_.size() <= floor() || stack_.back()->kind != kind) damaged();
    return stack_.back();
  }
  std::vector<PickleNode*> pop_to_mark() {
    if (marks_.empty()) damaged();
    std::vector<PickleNode*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                                   stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::vector<PickleNode*> items) {
    push_new(Kind::kTuple)->items = std::move(items);
  }
  void push_tuple_of(int count) {
    std::vector<PickleNode*> items(count);
    for (int i = count; i-- > 0;) items[i] = pop();
    push_tuple(std::move(items));
  }
  void append(const std::vector<PickleNode*>& items, Kind kind) {
    if (stack_.size() > floor() && stack_.back()->kind == Kind::kOpaque) return;
    std::vector<PickleNode*>& all = top(kind)->items;
    all.insert(all.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<PickleNode*>& items) {
    if (items.size() % 2 != 0) damaged();
    append(items, Kind::kDict);
  }
  void remember(uint64_t key) {
    if (stack_.empty()) damaged();
    memo_[key] = stack_.back();
  }
  void recall(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) damaged();
    push(found->second);
  }

  void push_long(uint64_t count) {  // two's complement
    if (count > 8) {
      take(count);
      return push_opaque("a whole number of more than 64 bits");
    }
    uint64_t value = take_number(count);
    if (count > 0 && count < 8 && (value >> (8 * count - 1)) != 0)
      value |= ~uint64_t{0} << (8 * count);
    push_integer(static_cast<int64_t>(value));
  }
  void push_real() { push_new(Kind::kReal)->real = std::bit_cast<double>(big_endian(take(8))); }
  void push_global(const std::string& global) {
    if (const auto type = storage_type(global)) {
      push_new(Kind::kStorageType)->type = *type;
    } else if (is_one_of(kFunctions, global) ||
               (arrays_ == NumpyArrays::kTensors && is_one_of(kNumpyFunctions, global))) {
      push_new(Kind::kFunction)->text = global;
    } else {
      push_opaque(global);
    }
  }
  void push_named_global() {
    const PickleNode* name = pop();
    const PickleNode* module = pop();
    if (name->kind != Kind::kText || module->kind != Kind::kText) damaged();
    push_global(module->text + "." + name->text);
  }

  int64_t integer_of(const PickleNode* node) const {
    if (node->kind != Kind::kInteger) damaged();
    return node->integer;
  }
  std::vector<int64_t> integers_of(const PickleNode* node) const {
    if (node->kind != Kind::kTuple || node->items.size() > 16) damaged();
    std::vector<int64_t> numbers;
    for (const PickleNode* item : node->items) {
      numbers.push_back(integer_of(item));
      if (numbers.back() < 0) damaged();
    }
    return numbers;
  }

  // ("storage", type, key, location, elements[, None]): the memory of a tensor.
  void push_storage() {
    const PickleNode* id = pop();
    const auto& part = id->items;
    // The class of a complete module, with its source.
    if (id->kind == Kind::kTuple && part.size() == 4 && part[0]->text == "module")
      return push_opaque(part[1]->text);
    if (id->kind != Kind::kTuple || part.size() < 5) damaged();
    const bool known = part[1]->kind == Kind::kStorageType;
    if (part[0]->kind != Kind::kText || part[0]->text != "storage" ||
        (!known && part[1]->kind != Kind::kOpaque) || part[2]->kind != Kind::kText)
      damaged();
    const int64_t elements = integer_of(part[4]);
    if (elements < 0) damaged();
    const torch::ScalarType type = known ? part[1]->type : torch::ScalarType::Undefined;
    torch::Tensor memory = load_storage_(part[2]->text, type, elements);
    if (!known) return push_opaque("a " + part[1]->text);
    if (part.size() > 5 && part[5]->kind != Kind::kNone) return push_opaque("a view of a storage");
    PickleNode* storage = push_new(Kind::kStorage);
    storage->type = type;
    storage->tensor = std::move(memory);
  }

  // (storage, offset, sizes, strides, ...)
  void push_tensor(const std::vector<PickleNode*>& arguments) {
    if (arguments.size() < 4) damaged();
    if (arguments[0]->kind == Kind::kOpaque)
      return push_opaque("a tensor in " + arguments[0]->text);
    if (arguments[0]->kind != Kind::kStorage) damaged();
    const auto tensor =
        tensor_in(arguments[0]->tensor.view(arguments[0]->type), integer_of(arguments[1]),
                  integers_of(arguments[2]), integers_of(arguments[3]));
    if (!tensor) fail("is damaged: a tensor reaches beyond its memory");
    push_new(Kind::kTensor)->tensor = *tensor;
  }

  void push_ordered_dict(const std::vector<PickleNode*>& arguments) {
    std::vector<PickleNode*> items;
    if (!arguments.empty()) {  // as written by Python 2: a list of pairs
      if (arguments.size() > 1 || arguments[0]->kind != Kind::kList) damaged();
      for (const PickleNode* pair : arguments[0]->items) {
        if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items.size() != 2)
          damaged();
        items.insert(items.end(), pair->items.begin(), pair->items.end());
      }
    }
    push_new(Kind::kDict)->items = std::move(items);
  }

  // (function, type, arguments, attributes): a tensor with attributes of Python's.
  void push_from_type(const std::vector<PickleNode*>& arguments) {
    if (arguments.size() < 3) damaged();
    const std::string& type = arguments[1]->text;
    const bool plain = type == "torch.Tensor" || type == "torch.nn.parameter.Parameter";
    const bool known = arguments[0]->kind == Kind::kFunction && arguments[0]->text != kFromType;
    if (known && plain) return apply(*arguments[0], *arguments[2]);
    push_opaque(type.empty() ? "a tensor of an unknown type" : "a " + type);
  }

  // numpy.dtype("u1", ...) and _reconstruct(numpy.ndarray, (0,), "b"), whose contents follow.
  void push_numpy(const std::string& function, const std::vector<PickleNode*>& arguments) {
    if (function == "numpy.ndarray") return push_opaque("an array of numpy's");
    if (function != "numpy.dtype") {
      push_new(Kind::kArray);
      return;
    }
    if (arguments.empty() || arguments[0]->kind != Kind::kText) damaged();
    push_new(Kind::kDtype)->text = arguments[0]->text;
  }

  // (version, shape, dtype, is it column-major, bytes) of an array.
  void fill_array(PickleNode& array, const PickleNode& state) {
    const auto& part = state.items;
    if (state.kind != Kind::kTuple || part.size() != 5 || part[2]->kind != Kind::kDtype) damaged();
    if (part[2]->text != "u1" || part[3]->integer != 0 || part[4]->kind != Kind::kText) {
      array.kind = Kind::kOpaque;
      array.text = "an array of numpy's in " + part[2]->text;
      return;
    }
    const std::vector<int64_t> shape = integers_of(part[1]);
    const auto bytes = static_cast<int64_t>(part[4]->text.size());
    int64_t left = bytes;  // of a product that cannot overflow
    for (const int64_t side : shape) left = side > 0 && left % side == 0 ? left / side : -1;
    if (bytes == 0 || left != 1) damaged();
    array.kind = Kind::kTensor;
    array.tensor = torch::empty(shape, torch::kByte);
    std::copy(part[4]->text.begin(), part[4]->text.end(), array.tensor.data_ptr<uint8_t>());
  }

  void apply(const PickleNode& function, const PickleNode& arguments) {
    const std::string& name = function.text;
    if (function.kind == Kind::kOpaque) return push_opaque(name);
    if (function.kind == Kind::kStorageType) return push_opaque("a bare storage");
    if (function.kind != Kind::kFunction || arguments.kind != Kind::kTuple) damaged();
    if (name == "collections.OrderedDict") return push_ordered_dict(arguments.items);
    if (name == "collections.defaultdict") return push_ordered_dict({});
    if (name == kFromType) return push_from_type(arguments.items);
    if (is_one_of(kNumpyFunctions, name)) return push_numpy(name, arguments.items);
    if (name.starts_with("torch._utils._rebuild_tensor")) return push_tensor(arguments.items);
    if (arguments.items.empty()) damaged();
    PickleNode* first = arguments.items[0];  // a parameter is its tensor, a torch.Size its tuple
    const Kind kind = name == "torch.Size" ? Kind::kTuple : Kind::kTensor;
    if (first->kind != kind && first->kind != Kind::kOpaque) damaged();
    push(first);
  }
  void call() {
    const PickleNode* arguments = pop();
    const PickleNode* function = pop();
    apply(*function, *arguments);
  }
  void call_with_keywords() {
    pop();
    call();
  }

  // Attributes are dropped: those of an OrderedDict (a state dict's _metadata) are not content, and
  // an opaque object stays opaque. An array gets its contents.
  void set_state() {
    const PickleNode* state = pop();
    if (stack_.size() <= floor()) damaged();
    const Kind kind = stack_.back()->kind;
    if (kind == Kind::kDtype) return;  // the order of its bytes
    if (kind == Kind::kArray) return fill_array(*stack_.back(), *state);
    if (kind != Kind::kDict && kind != Kind::kTensor && kind != Kind::kOpaque) damaged();
  }

  // One operation; true at the end. The codes are those of Python's pickletools.
  bool step(uint8_t code) {
    // clang-format off
    switch (code) {
      case 0x80: take_byte(); break;                                // PROTO
      case 0x95: take(8); break;                                    // FRAME
      case '.': return true;                                        // STOP
      case '(': marks_.push_back(stack_.size()); break;             // MARK
      case '0': pop(); break;                                       // POP
      case '1': pop_to_mark(); break;                               // POP_MARK
      case 'N': push_new(Kind::kNone); break;                       // NONE
      case 0x88: push_new(Kind::kBool)->integer = 1; break;         // NEWTRUE
      case 0x89: push_new(Kind::kBool); break;                      // NEWFALSE
      case 'J': push_integer(static_cast<int32_t>(take_number(4))); break;  // BININT
      case 'K': push_integer(take_byte()); break;                   // BININT1
      case 'M': push_integer(static_cast<int64_t>(take_number(2))); break;  // BININT2
      case 0x8a: push_long(take_byte()); break;                     // LONG1
      case 0x8b: push_long(take_number(4)); break;                  // LONG4
      case 'G': push_real(); break;                                 // BINFLOAT
      case 'X': case 'T': case 'B':                                 // BINUNICODE, BINSTRING, BINBYTES
        push_text(take_text(take_number(4)));
        break;
      case 0x8c: case 'U': case 'C': push_text(take_text(take_byte())); break;  // the short ones
      case 0x8d: case 0x8e: case 0x96: push_text(take_text(take_number(8))); break;  // the long ones
      case '}': push_new(Kind::kDict); break;                       // EMPTY_DICT
      case ']': case 0x8f: push_new(Kind::kList); break;            // EMPTY_LIST, EMPTY_SET
      case ')': push_tuple({}); break;                              // EMPTY_TUPLE
      case 't': push_tuple(pop_to_mark()); break;                   // TUPLE
      case 0x85: push_tuple_of(1); break;                           // TUPLE1
      case 0x86: push_tuple_of(2); break;                           // TUPLE2
      case 0x87: push_tuple_of(3); break;                           // TUPLE3
      case 0x91: { auto items = pop_to_mark(); push_new(Kind::kList)->items = items; break; }  // FROZENSET
      case '2': if (stack_.size() <= floor()) damaged(); push(stack_.back()); break;  // DUP
      case 'a': { PickleNode* item = pop(); append({item}, Kind::kList); break; }  // APPEND
      case 'e': case 0x90: append(pop_to_mark(), Kind::kList); break;  // APPENDS, ADDITEMS
      case 's': {                                                   // SETITEM
        PickleNode* value = pop();
        PickleNode* key = pop();
        set_items({key, value});
        break;
      }
      case 'u': set_items(pop_to_mark()); break;                    // SETITEMS
      case 'q': remember(take_byte()); break;                       // BINPUT
      case 'r': remember(take_number(4)); break;                    // LONG_BINPUT
      case 0x94: remember(memo_.size()); break;                     // MEMOIZE
      case 'h': recall(take_byte()); break;                         // BINGET
      case 'j': recall(take_number(4)); break;                      // LONG_BINGET
      case 'c': {                                                   // GLOBAL
        const std::string module = take_line();
        push_global(module + "." + take_line());
        break;
      }
      case 0x93: push_named_global(); break;                        // STACK_GLOBAL
      case 'Q': push_storage(); break;                              // BINPERSID
      case 'R': case 0x81: call(); break;                           // REDUCE, NEWOBJ
      case 0x92: call_with_keywords(); break;                       // NEWOBJ_EX
      case 0x82: take(1); push_opaque("a registered extension"); break;  // EXT1
      case 0x83: take(2); push_opaque("a registered extension"); break;  // EXT2
      case 0x84: take(4); push_opaque("a registered extension"); break;  // EXT4
      case 'b': set_state(); break;                                 // BUILD
      default:
        refuse(fmt::format("pickle operation 0x{:02x} at byte {}", code, position() - 1));
    }
    // clang-format on
    return false;
  }

  const StorageLoader& load_storage_;
  NumpyArrays arrays_;
  std::deque<PickleNode> nodes_;
  std::vector<PickleNode*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
};

}  // namespace

TorchValue unpickle(std::span<const uint8_t>& bytes, const std::string& name,
                    const StorageLoader& storage, NumpyArrays arrays) {
  Machine machine(bytes, name, storage, arrays);
  TorchValue value = machine.run();
  bytes = bytes.subspan(machine.position());
  return value;
}

}  // namespace ddpm::io
