#include "ddpm/io/torch_file.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"
#include "pickle.h"
#include "zip_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

// Beginning of every file of torch.save before 1.6: the pickle of 0x1950a86a20f9469cfc6c.
constexpr std::array<uint8_t, 15> kLegacyBegin = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                                  0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
constexpr std::array<uint8_t, 4> kZipBegin = {'P', 'K', 3, 4};
constexpr uint64_t kMaxPickleBytes = uint64_t{1} << 26;
constexpr const char* kNoteEnding = ".note";

std::vector<uint8_t> first_bytes(const fs::path& path) {
  const InputFile file(path);
  std::vector<uint8_t> bytes(std::min<uint64_t>(file.size(), kLegacyBegin.size()));
  file.read_at(0, bytes);
  return bytes;
}

// Bytes of a tensor's memory. Throws IoError if the file cannot hold them.
uint64_t checked_bytes(const fs::path& path, torch::ScalarType type, int64_t elements,
                       uint64_t available) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(elements), c10::elementSize(type), &bytes) ||
      bytes > available)
    throw IoError(path, "is damaged: its tensors are larger than the file");
  return bytes;
}

void check_booleans(const fs::path& path, torch::ScalarType type, const torch::Tensor& bytes) {
  if (type == torch::kBool && bytes.numel() > 0 && bytes.max().item<uint8_t>() > 1)
    throw IoError(path, "is damaged: a boolean is neither 0 nor 1");
}

/// The archive of torch.save since 1.6: ROOT/data.pkl, ROOT/data/KEY, ROOT/byteorder, ...
class ZipSource {
 public:
  explicit ZipSource(const fs::path& path)
      : path_(path), zip_(path), available_(fs::file_size(path)) {
    for (const std::string& name : zip_.names()) {
      const size_t slash = name.find('/');
      if (slash != std::string::npos && name.substr(slash) == "/data.pkl")
        root_ = name.substr(0, slash);
    }
    if (root_.empty()) throw IoError(path, "is a zip archive, but none of torch.save");
    if (has("constants.pkl")) {
      throw IoError(path,
                    "is a TorchScript program, not a file of weights; in Python, save the state "
                    "dict alone: torch.save(module.state_dict(), \"weights.pt\")");
    }
    if (has("byteorder")) {
      const std::vector<uint8_t> order = read("byteorder", 16);
      if (std::string(order.begin(), order.end()) != "little")
        throw IoError(path, "was written on a big-endian machine; save it again on another");
    }
  }

  std::optional<std::string> note(const std::string& name) const {
    if (!has(name + kNoteEnding)) return std::nullopt;
    const std::vector<uint8_t> bytes = read(name + kNoteEnding, kMaxPickleBytes);
    return std::string(bytes.begin(), bytes.end());
  }

  TorchValue value() {
    const std::vector<uint8_t> pickle = read("data.pkl", kMaxPickleBytes);
    std::span<const uint8_t> bytes(pickle);
    return unpickle(bytes, path_.string(),
                    [this](const std::string& key, torch::ScalarType type, int64_t elements) {
                      return storage(key, type, elements);
                    });
  }

 private:
  std::string full(const std::string& name) const { return root_ + "/" + name; }
  bool has(const std::string& name) const {
    return std::binary_search(zip_.names().begin(), zip_.names().end(), full(name));
  }
  // Entries are stored, not packed, so that none is larger than the archive.
  std::vector<uint8_t> read(const std::string& name, uint64_t limit) const {
    if (zip_.size_of(full(name)) > std::min<uint64_t>(limit, fs::file_size(path_)))
      throw IoError(path_, fmt::format("is damaged: {} is said to be larger than the file", name));
    return zip_.read(full(name));
  }
  torch::Tensor storage(const std::string& key, torch::ScalarType type, int64_t elements) {
    if (type == torch::ScalarType::Undefined) return {};
    const auto known = storages_.find(key);
    const uint64_t bytes = checked_bytes(path_, type, elements, fs::file_size(path_));
    if (known != storages_.end()) {
      if (static_cast<uint64_t>(known->second.numel()) != bytes)
        throw IoError(path_, "is damaged: two tensors disagree on their memory");
      check_booleans(path_, type, known->second);
      return known->second;
    }
    checked_bytes(path_, type, elements, available_);
    available_ -= bytes;
    auto content = std::make_shared<std::vector<uint8_t>>(read("data/" + key, available_ + bytes));
    if (content->size() != bytes)
      throw IoError(path_, fmt::format("is damaged: data/{} has {} bytes instead of {}", key,
                                       content->size(), bytes));
    const torch::Tensor tensor = torch::from_blob(
        content->data(), {static_cast<int64_t>(bytes)}, [content](void*) {}, torch::kByte);
    check_booleans(path_, type, tensor);
    return storages_[key] = tensor;
  }

  fs::path path_;
  ZipReader zip_;
  uint64_t available_;  // bytes of the file that no tensor has claimed yet
  std::string root_;
  std::map<std::string, torch::Tensor> storages_;
};

/// The file of torch.save before 1.6: pickles of a magic number, a version, the machine, the value,
/// and the storages' keys; then each storage's number of elements and bytes.
class LegacySource {
 public:
  explicit LegacySource(const fs::path& path)
      : path_(path), content_(read_file(path)), available_(content_.size()) {}

  TorchValue value() {
    std::span<const uint8_t> bytes(content_);
    bytes = bytes.subspan(kLegacyBegin.size());
    const StorageLoader none = [this](const std::string&, torch::ScalarType,
                                      int64_t) -> torch::Tensor { damaged(); };
    const auto next = [&](const StorageLoader& loader) {
      return unpickle(bytes, path_.string(), loader);
    };
    if (next(none).integer != 1001) throw IoError(path_, "is of an unknown version of torch.save");
    const TorchValue system = next(none);
    const TorchValue* little = system.find("little_endian");
    if (!little || little->integer != 1)
      throw IoError(path_, "was written on a big-endian machine; save it again on another");
    TorchValue value = next([this](const std::string& key, torch::ScalarType type,
                                   int64_t elements) { return storage(key, type, elements); });
    for (const TorchValue& key : next(none).items) fill(key.text, bytes);
    if (filled_ != storages_.size()) damaged();
    return value;
  }

 private:
  struct Storage {
    torch::ScalarType type;
    int64_t elements;
    torch::Tensor bytes;
    bool filled = false;
  };
  [[noreturn]] void damaged() const {
    throw IoError(path_, "is damaged: its tensors' memories are not where they should be");
  }
  torch::Tensor storage(const std::string& key, torch::ScalarType type, int64_t elements) {
    if (type == torch::ScalarType::Undefined) {
      throw IoError(path_,
                    "holds a tensor of a type that is not read, whose size is unknown in this old "
                    "format; in Python, save the state dict alone");
    }
    const auto known = storages_.find(key);
    if (known != storages_.end()) {
      if (known->second.type != type || known->second.elements != elements) damaged();
      return known->second.bytes;
    }
    const uint64_t bytes = checked_bytes(path_, type, elements, available_);
    available_ -= bytes;
    torch::Tensor memory = torch::zeros({static_cast<int64_t>(bytes)}, torch::kByte);
    storages_[key] = {type, elements, memory};
    return memory;
  }
  void fill(const std::string& key, std::span<const uint8_t>& bytes) {
    const auto found = storages_.find(key);
    constexpr size_t kCountBytes = 8;
    if (found == storages_.end() || found->second.filled || bytes.size() < kCountBytes) damaged();
    Storage& storage = found->second;
    const auto elements = static_cast<int64_t>(little_endian(bytes.first(kCountBytes)));
    bytes = bytes.subspan(kCountBytes);
    const auto size = static_cast<size_t>(storage.bytes.numel());
    if (elements != storage.elements || bytes.size() < size) damaged();
    if (size > 0) std::memcpy(storage.bytes.mutable_data_ptr<uint8_t>(), bytes.data(), size);
    bytes = bytes.subspan(size);
    check_booleans(path_, storage.type, storage.bytes);
    storage.filled = true;
    ++filled_;
  }

  fs::path path_;
  std::vector<uint8_t> content_;
  uint64_t available_;
  std::map<std::string, Storage> storages_;
  size_t filled_ = 0;
};

}  // namespace

TorchValue::TorchValue() = default;
TorchValue::TorchValue(const TorchValue&) = default;
TorchValue::TorchValue(TorchValue&&) noexcept = default;
TorchValue& TorchValue::operator=(const TorchValue&) = default;
TorchValue& TorchValue::operator=(TorchValue&&) noexcept = default;
TorchValue::~TorchValue() = default;

const TorchValue* TorchValue::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

bool is_torch_file(const fs::path& path) {
  try {
    if (!fs::is_regular_file(path)) return false;
    const std::vector<uint8_t> bytes = first_bytes(path);
    if (begins_with(bytes, kLegacyBegin)) return true;
    if (!begins_with(bytes, kZipBegin)) return false;
    const std::vector<std::string> names = ZipReader(path).names();
    return std::any_of(names.begin(), names.end(),
                       [](const std::string& name) { return name.ends_with("/data.pkl"); });
  } catch (const IoError&) {
    return false;
  }
}

TorchValue read_torch_file(const fs::path& path) {
  const std::vector<uint8_t> begin = first_bytes(path);
  if (begins_with(begin, kZipBegin)) return ZipSource(path).value();
  if (begins_with(begin, kLegacyBegin)) return LegacySource(path).value();
  refuse_foreign_text(path);
  throw IoError(path, "is neither a safetensors file nor one of Python's torch.save");
}

std::optional<std::string> torch_file_note(const fs::path& path, const std::string& name) {
  if (!begins_with(first_bytes(path), kZipBegin)) return std::nullopt;
  return ZipSource(path).note(name);
}

FileSum write_torch_file(const fs::path& path, const std::vector<NamedTensor>& tensors,
                         const Metadata& notes) {
  return write_file_atomic(path, [&](OutputFile& file) {
    const std::string root = "weights/";
    ZipWriter zip(file);
    zip.add(root + "data.pkl", bytes_of(pickle_state_dict(tensors)));
    zip.add(root + "byteorder", bytes_of("little"));
    for (size_t i = 0; i < tensors.size(); ++i) {
      const torch::Tensor tensor = tensors[i].tensor.detach().cpu().contiguous();
      zip.add(fmt::format("{}data/{}", root, i),
              {static_cast<const uint8_t*>(tensor.const_data_ptr()), tensor.nbytes()});
    }
    zip.add(root + "version", bytes_of("3\n"));
    for (const auto& [name, text] : notes) zip.add(root + name + kNoteEnding, bytes_of(text));
    zip.finish();
  });
}

}  // namespace ddpm::io
