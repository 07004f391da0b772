#include "ddpm/io/torch_file.h"

#include "ddpm/base/error.h"
#include "tests/io/golden_numbers.h"
#include "tests/io/temporary_folder.h"

#include <cstdlib>
#include <random>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) {
  return fs::path(DDPM_SOURCE_DIR) / "tests" / "golden" / name;
}

const std::vector<std::pair<std::string, torch::ScalarType>> kTypes = {
    {"f64", torch::kDouble},    {"f32", torch::kFloat}, {"f16", torch::kHalf},
    {"bf16", torch::kBFloat16}, {"i64", torch::kLong},  {"i32", torch::kInt},
    {"i16", torch::kShort},     {"i8", torch::kChar},   {"u8", torch::kByte},
    {"bool", torch::kBool}};

void expect_tensor(const TorchValue* found, const torch::Tensor& expected,
                   const std::string& name) {
  ASSERT_TRUE(found && found->is_tensor()) << name;
  EXPECT_EQ(found->tensor.scalar_type(), expected.scalar_type()) << name;
  EXPECT_TRUE(torch::equal(found->tensor, expected)) << name;
}

std::string message_of(const fs::path& path) {
  try {
    read_torch_file(path);
  } catch (const IoError& error) {
    return error.what();
  }
  return "(it was read)";
}

class TorchFile : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Formats, TorchFile, testing::Values("zip", "legacy"),
                         [](const auto& info) { return info.param; });

TEST_P(TorchFile, ReadsEveryTypeAndContainerThatTorchWrites) {
  const fs::path path = golden("torch_" + GetParam() + ".pt");
  EXPECT_TRUE(is_torch_file(path));
  const TorchValue value = read_torch_file(path);
  ASSERT_EQ(value.items.size(), 5u);

  for (const auto& [name, type] : kTypes)
    expect_tensor(value.items[0].find(name), golden_numbers(type), name);

  const TorchValue& views = value.items[1];
  const torch::Tensor base = golden_numbers(torch::kFloat);
  expect_tensor(views.find("base"), base, "base");
  expect_tensor(views.find("transposed"), base.permute({2, 0, 1}), "transposed");
  expect_tensor(views.find("slice"), base[1].slice(1, 0, 5, 2), "slice");
  expect_tensor(views.find("expanded"), torch::full({4}, 7.0f), "expanded");
  expect_tensor(views.find("scalar"), torch::tensor(1.5f), "scalar");
  expect_tensor(views.find("empty"), torch::zeros({0, 4}), "empty");
  EXPECT_EQ(views.find("base")->tensor.const_data_ptr(),
            views.find("transposed")->tensor.const_data_ptr())
      << "views share their memory";

  ASSERT_EQ(value.items[2].entries.size(), 2u) << "attributes of an OrderedDict are left out";
  expect_tensor(value.items[2].find("weight"), torch::tensor({1.0f, 2.0f}).view({1, 2}), "weight");
  expect_tensor(value.items[2].find("bias"), torch::tensor({3.0f}), "bias");
  expect_tensor(&value.items[3], torch::tensor({4.0f, 5.0f}), "parameter");

  const TorchValue& plain = value.items[4];
  EXPECT_EQ(plain.find("none")->kind, TorchValue::Kind::kNone);
  EXPECT_EQ(plain.find("true")->integer, 1);
  EXPECT_EQ(plain.find("false")->kind, TorchValue::Kind::kBool);
  EXPECT_EQ(plain.find("int")->integer, -7);
  EXPECT_EQ(plain.find("long")->integer, int64_t{1} << 40);
  EXPECT_EQ(plain.find("real")->real, 0.1);
  EXPECT_EQ(plain.find("text")->text, "grün");
  EXPECT_EQ(plain.find("tuple")->items.at(1).text, "a");
  EXPECT_EQ(plain.find("size")->items.at(1).integer, 3);
  EXPECT_EQ(plain.find("nested")->find("list")->items.at(2).items.at(0).real, 1.5);
  EXPECT_EQ(plain.find("5")->text, "five");
  EXPECT_EQ(plain.find("missing"), nullptr);
}

TEST(TorchFile, CodeIsANameAndNotRun) {
  const fs::path witness = "/tmp/this-must-not-run";  // what torch_call.pt would make
  ASSERT_FALSE(fs::exists(witness));
  const TorchValue value = read_torch_file(golden("torch_call.pt"));
  EXPECT_FALSE(fs::exists(witness));
  expect_tensor(value.find("weights"), torch::zeros({2}), "weights");
  ASSERT_TRUE(value.find("x") && value.find("x")->is_opaque());
  EXPECT_EQ(value.find("x")->text, "posix.system");
  EXPECT_NE(message_of(golden("torch_script.pt")).find("TorchScript"), std::string::npos);
}

class TorchObjects : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Formats, TorchObjects,
                         testing::Values("torch_objects.pt", "torch_objects_legacy.pt"),
                         [](const auto& info) {
                           return std::string(info.index == 0 ? "zip" : "legacy");
                         });

TEST_P(TorchObjects, WeightsAreReadWhateverLiesBesideThem) {
  const TorchValue value = read_torch_file(golden(GetParam()));
  const TorchValue* weights = value.find("state_dict");
  ASSERT_TRUE(weights);
  expect_tensor(weights->find("weight"), torch::tensor({1.0f, 2.0f}).view({1, 2}), "weight");
  expect_tensor(weights->find("tagged"), torch::tensor({3.0f}), "tagged");
  expect_tensor(weights->find("parameter"), torch::tensor({4.0f}), "parameter");
  ASSERT_TRUE(value.find("defaults") && value.find("defaults")->is_dict());
  expect_tensor(value.find("defaults")->find("weight"), weights->find("weight")->tensor, "default");
  for (const auto& [name, what] : {std::pair("loss", "numpy"),
                                   {"array", "numpy"},
                                   {"args", "argparse.Namespace"},
                                   {"path", "pathlib"},
                                   {"when", "datetime.datetime"},
                                   {"counter", "collections.Counter"},
                                   {"number", "64 bits"},
                                   {"fraction", "fractions.Fraction"},
                                   {"device", "torch.device"},
                                   {"dtype", "torch.float32"},
                                   {"function", "posixpath.join"},
                                   {"class", "__main__.Net"},
                                   {"module", "__main__.Net"}}) {
    ASSERT_TRUE(value.find(name) && value.find(name)->is_opaque()) << name;
    EXPECT_NE(value.find(name)->text.find(what), std::string::npos)
        << name << ": " << value.find(name)->text;
  }
  EXPECT_EQ(value.find("keys")->entries.size(), 1u) << "of its keys one is a text";
  EXPECT_EQ(value.find("keys")->find("kept")->integer, 6);
}

TEST(TorchFile, OtherFilesAreNone) {
  const fs::path other = golden("safetensors_all_types.safetensors");
  EXPECT_FALSE(is_torch_file(other));
  EXPECT_FALSE(is_torch_file(golden("numpy_images.npz"))) << "a zip archive of another kind";
  EXPECT_FALSE(is_torch_file(golden("missing.pt")));
  EXPECT_THROW(read_torch_file(other), IoError);
  EXPECT_THROW(read_torch_file(golden("numpy_images.npz")), IoError);
  EXPECT_THROW(read_torch_file(golden("missing.pt")), IoError);
}

// scripts/make_torch_golden.py --check lets torch read the same file.
TEST(TorchFile, WritesAStateDict) {
  TemporaryFolder folder;
  const char* keep = std::getenv("DDPM_KEEP_TEST_FILES");
  const fs::path path = (keep ? fs::path(keep) : folder.path()) / "torch_written.pt";
  std::vector<NamedTensor> tensors;
  for (const auto& [name, type] : kTypes) tensors.push_back({name, golden_numbers(type)});
  tensors.push_back({"transposed", golden_numbers(torch::kFloat).permute({2, 0, 1})});
  write_torch_file(path, tensors);
  const TorchValue value = read_torch_file(path);
  ASSERT_EQ(value.entries.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(value.entries[i].first, tensors[i].name);
    expect_tensor(&value.entries[i].second, tensors[i].tensor, tensors[i].name);
  }
}

// Damage gives an IoError or some value, but no other exception, crash or endless work.
void expect_no_harm(const fs::path& path, const std::string& what) {
  try {
    read_torch_file(path);
  } catch (const IoError&) {
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
}

TEST_P(TorchFile, BitFlipsDoNoHarm) {
  const std::vector<uint8_t> whole = read_file(golden("torch_" + GetParam() + ".pt"));
  TemporaryFolder folder(memory_folder());
  const fs::path path = folder / "damaged.pt";
  // Legacy files have no checksum, so that every flip of theirs reaches the interpreter: a
  // third of them, and a sample of the archive's.
  const size_t step = GetParam() == "legacy" ? 3 : 61;
  for (size_t bit = 0; bit < 8 * whole.size(); bit += step) {
    std::vector<uint8_t> bytes = whole;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    expect_no_harm(path, "bit " + std::to_string(bit));
    if (HasFailure()) return;
  }
}

TEST_P(TorchObjects, BitFlipsDoNoHarm) {
  const std::vector<uint8_t> whole = read_file(golden(GetParam()));
  TemporaryFolder folder(memory_folder());
  const fs::path path = folder / "damaged.pt";
  const size_t step = GetParam() == "torch_objects.pt" ? 97 : 7;
  for (size_t bit = 0; bit < 8 * whole.size() && !HasFailure(); bit += step) {
    std::vector<uint8_t> bytes = whole;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    expect_no_harm(path, "bit " + std::to_string(bit));
  }
}

TEST_P(TorchFile, TruncationIsAnError) {
  const std::vector<uint8_t> whole = read_file(golden("torch_" + GetParam() + ".pt"));
  TemporaryFolder folder(memory_folder());
  const fs::path path = folder / "damaged.pt";
  for (size_t size = 0; size < whole.size(); size += size < 400 ? 1 : 37) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(whole.data(), 1, size, file);
    std::fclose(file);
    EXPECT_THROW(read_torch_file(path), IoError) << size << " bytes";
  }
}

// Pickles by hand, in the place of a legacy file's value.
std::string message_of_pickle(const std::string& pickle) {
  std::vector<uint8_t> bytes = read_file(golden("torch_legacy.pt"));
  // The magic number, the version and the machine's sizes stay.
  const std::string text(bytes.begin(), bytes.end());
  const size_t end = text.find("type_sizes");
  const size_t value = text.find(std::string("u.\x80\x02", 4), end);
  TemporaryFolder folder(memory_folder());
  const fs::path path = folder / "made.pt";
  write_file_synced(path, text.substr(0, value + 2) + pickle + std::string("\x80\x02].", 4));
  return message_of(path);
}

TEST(TorchFile, HostilePicklesAreRefused) {
  using namespace std::string_literals;
  EXPECT_EQ(message_of_pickle("\x80\x02]."s), "(it was read)");
  // A list that holds itself.
  EXPECT_NE(message_of_pickle("\x80\x02]q\x00h\x00"
                              "a."s)
                .find("circles"),
            std::string::npos);
  // Each list twice in the next: 2^60 values.
  std::string bomb = "\x80\x02]q\x00"s;
  for (char i = 1; i < 60; ++i) bomb += "](h"s + char(i - 1) + "h"s + char(i - 1) + "eq"s + i;
  EXPECT_NE(message_of_pickle(bomb + "."), "(it was read)");
  // A text of 4 GiB that is not there; a stack that is empty; a tensor without memory.
  EXPECT_NE(message_of_pickle("\x80\x02X\xff\xff\xff\xff."s).find("cut short"), std::string::npos);
  EXPECT_NE(message_of_pickle("\x80\x02"
                              "0."s)
                .find("no sense"),
            std::string::npos);
  EXPECT_NE(message_of_pickle("\x80\x02"
                              "ctorch._utils\n_rebuild_tensor_v2\n)R."s)
                .find("no sense"),
            std::string::npos);
  // A storage of 2^40 elements in a small file.
  EXPECT_NE(message_of_pickle("\x80\x02(U\x07storagectorch\nFloatStorage\nU\x01"
                              "0U\x03"
                              "cpu\x8a\x06\x00\x00\x00\x00\x00\x01NtQ."s)
                .find("larger than the file"),
            std::string::npos);
  // A call, which is not made; and what makes no sense even so.
  EXPECT_EQ(message_of_pickle("\x80\x02"
                              "cbuiltins\neval\nX\x03\x00\x00\x00"
                              "1+1\x85R."s),
            "(it was read)");
  EXPECT_NE(message_of_pickle("\x80\x02"
                              "K\x01)R."s)
                .find("no sense"),
            std::string::npos);
}

// Programs for the machine at random, from its own operations with short operands: many of them run
// for a while.
TEST(TorchFile, RandomPicklesDoNoHarm) {
  using namespace std::string_literals;
  const std::vector<std::string> pieces = {
      "(", "0", "1", "2", "N", "\x88", "\x89", "J\x01\x00\x00\x00"s, "K\x02", "M\x03\x00"s,
      "\x8a\x01\x04", "\x8a\x09" + std::string(9, 'x'),
      "\x8b\x0a\x00\x00\x00"s + std::string(10, 'y'), "G" + std::string(8, '\0'), "U\x07storage",
      "U\x01"
      "0",
      "U\x03"
      "cpu",
      "}", "]", ")", "t", "\x85", "\x86", "\x87", "a", "e", "s", "u", "q\x01", "q\x02", "h\x01",
      "h\x02", "\x94", "ctorch\nFloatStorage\n", "ctorch\nComplexFloatStorage\n",
      "ctorch.storage\nUntypedStorage\n", "ctorch._utils\n_rebuild_tensor_v2\n",
      "ctorch._utils\n_rebuild_parameter\n", "ctorch._tensor\n_rebuild_from_type_v2\n",
      "ctorch\nTensor\n", "ctorch\nSize\n", "ccollections\nOrderedDict\n",
      "ccollections\ndefaultdict\n", "cmodule\nName\n", "U\x01mU\x01n\x93", "Q", "R", "\x81",
      "\x92", "b", "\x8f", "\x90", "\x91", "\x82\x01",
      // whole arguments, so that tensors come into being
      "(U\x07storagectorch\nFloatStorage\nU\x01"
      "0U\x03"
      "cpuK\x02tQ",
      "(K\x00K\x02\x85K\x01\x85\x89Nt"s};
  std::mt19937 random(1);
  std::uniform_int_distribution<size_t> piece(0, pieces.size() - 1), length(1, 12);
  int read = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string program = "\x80\x02";
    for (size_t n = length(random); n > 0; --n) program += pieces[piece(random)];
    read += message_of_pickle(program + ".") == "(it was read)";
  }
  EXPECT_GT(read, 100) << "programs that come to an end";
}

}  // namespace
}  // namespace ddpm::io
