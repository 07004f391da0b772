#include "ddpm/io/safetensors.h"

#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "tests/base/test_purpose.h"
#include "tests/io/golden_numbers.h"
#include "tests/io/temporary_folder.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(DDPM_SOURCE_DIR) / "tests" / "golden";
const Metadata kGoldenMetadata = {{"format", "pt"}, {"note", "grün \"quoted\"\nsecond line"}};

// Bit for bit, so that NaN and -0 count too.
bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 || std::memcmp(a.contiguous().const_data_ptr(),
                                        b.contiguous().const_data_ptr(), a.nbytes()) == 0);
}

std::vector<NamedTensor> golden_content() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {{"bool", golden_numbers(torch::kBool)},
          {"u8", golden_numbers(torch::kUInt8)},
          {"i8", golden_numbers(torch::kInt8)},
          {"i16", golden_numbers(torch::kInt16)},
          {"i32", golden_numbers(torch::kInt32)},
          {"i64", golden_numbers(torch::kInt64)},
          {"f16", golden_numbers(torch::kFloat16)},
          {"bf16", golden_numbers(torch::kBFloat16)},
          {"f32", golden_numbers(torch::kFloat32)},
          {"f64", golden_numbers(torch::kFloat64)},
          {"scalar", torch::tensor(1.5f)},
          {"empty", torch::zeros({0, 4})},
          {"special", torch::tensor({std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity,
                                     -0.0f, std::numeric_limits<float>::denorm_min(),
                                     std::numeric_limits<float>::max()})}};
}

void expect_content(const SafetensorsFile& file, const std::vector<NamedTensor>& expected) {
  EXPECT_EQ(file.names().size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(file.contains(name)) << name;
    EXPECT_TRUE(same_bits(file.get(name), tensor)) << name;
  }
}

std::string file_text(const std::string& header, const std::string& data,
                      std::optional<uint64_t> length = {}) {
  const uint64_t n = length.value_or(header.size());
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + data;
}

std::string open_error(const std::string& content) {
  const TemporaryFolder folder;
  write_file_synced(folder / "f", content);
  try {
    SafetensorsFile::open(folder / "f");
  } catch (const IoError& error) {
    const std::string prefix = (folder / "f").string() + ": is not a valid safetensors file: ";
    const std::string what = error.what();
    return what.starts_with(prefix) ? what.substr(prefix.size()) : "no prefix: " + what;
  }
  return "no error";
}

std::string open_error(const std::string& header, size_t data_bytes) {
  return open_error(file_text(header, std::string(data_bytes, '\1')));
}

TEST(Safetensors, ReadsFileOfThePythonPackage) {
  const auto file = SafetensorsFile::open(kGolden / "safetensors_all_types.safetensors");
  expect_content(file, golden_content());
  EXPECT_EQ(file.metadata(), kGoldenMetadata);
}

TEST(Safetensors, ReadsFileWithoutTensors) {
  const auto file = SafetensorsFile::open(kGolden / "safetensors_no_tensors.safetensors");
  EXPECT_TRUE(file.names().empty());
  EXPECT_TRUE(file.metadata().empty());
}

// The file is compared by the Python package too: make_safetensors_golden.py --check.
TEST(Safetensors, EveryTypeComesBackBitForBit) {
  const TemporaryFolder folder;
  const fs::path path = folder / "safetensors_rewritten.safetensors";
  const FileSum sum = write_safetensors(path, golden_content(), kGoldenMetadata);
  EXPECT_EQ(sum, file_sum(path));
  const auto file = SafetensorsFile::open(path);
  expect_content(file, golden_content());
  EXPECT_EQ(file.metadata(), kGoldenMetadata);
  if (const char* keep = std::getenv("DDPM_KEEP_TEST_FILES")) {
    fs::copy_file(path, fs::path(keep) / path.filename(), fs::copy_options::overwrite_existing);
  }
}

TEST(Safetensors, NamesKeepTheirOrderAndDataIsAligned) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"z", torch::ones({3}, torch::kUInt8)},
                                   {"a", torch::ones({3}, torch::kFloat64)},
                                   {"m", torch::ones({1}, torch::kInt16)},
                                   {"b", torch::ones({5}, torch::kFloat32)}});
  const auto file = SafetensorsFile::open(folder / "f");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"z", "a", "m", "b"}));
  for (const std::string& name : file.names()) {
    EXPECT_EQ(file.info(name).offset % torch::elementSize(file.info(name).dtype), 0u) << name;
  }
}

TEST(Safetensors, StridesDoNotShow) {
  const TemporaryFolder folder;
  const torch::Tensor dense = torch::arange(120, torch::kFloat32).reshape({2, 3, 4, 5});
  write_safetensors(folder / "f",
                    {{"channels_last", dense.contiguous(torch::MemoryFormat::ChannelsLast)},
                     {"transposed", dense.transpose(0, 3)},
                     {"slice", dense.slice(3, 1, 5, 2)},
                     {"expanded", torch::ones({1, 1}).expand({4, 6})},
                     {"negated view", torch::imag(torch::conj(torch::complex(dense, dense)))},
                     {"needs grad", dense.clone().set_requires_grad(true)}});
  const auto file = SafetensorsFile::open(folder / "f");
  expect_content(file, {{"channels_last", dense},
                        {"transposed", dense.transpose(0, 3).contiguous()},
                        {"slice", dense.slice(3, 1, 5, 2).contiguous()},
                        {"expanded", torch::ones({4, 6})},
                        {"negated view", -dense},
                        {"needs grad", dense}});
  EXPECT_FALSE(file.get("needs grad").requires_grad());
}

TEST(Safetensors, TensorsOutliveTheFileAndOwnTheirMemory) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"x", torch::arange(4)}});
  const std::vector<NamedTensor> first = read_safetensors(folder / "f");
  first[0].tensor.fill_(-1);
  fs::remove(folder / "f");
  EXPECT_TRUE(torch::equal(first[0].tensor, torch::full({4}, -1)));
}

TEST(Safetensors, FailedWriteKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"x", torch::arange(4)}});
  const std::vector<NamedTensor> unwritable = {{"x", torch::arange(5)},
                                               {"c", torch::zeros({2}, torch::kComplexFloat)}};
  try {
    write_safetensors(folder / "f", unwritable);
    ADD_FAILURE() << "complex numbers were written";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("tensor \"c\" has type ComplexFloat"),
              std::string::npos);
  }
  EXPECT_TRUE(torch::equal(read_safetensors(folder / "f")[0].tensor, torch::arange(4)));
}

TEST(Safetensors, ProgrammerErrorsAreCaught) {
  const TemporaryFolder folder;
  const torch::Tensor x = torch::zeros({1});
  EXPECT_THROW(write_safetensors(folder / "f", {{"x", x}, {"x", x}}), c10::Error);
  EXPECT_THROW(write_safetensors(folder / "f", {{"__metadata__", x}}), c10::Error);
  EXPECT_THROW(write_safetensors(folder / "f", {{"x", torch::Tensor()}}), c10::Error);
  EXPECT_FALSE(fs::exists(folder / "f"));
}

TEST(Safetensors, MissingTensorIsNamed) {
  const auto file = SafetensorsFile::open(kGolden / "safetensors_all_types.safetensors");
  try {
    file.get("weight");
    ADD_FAILURE() << "a tensor that is not there was read";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("holds no tensor \"weight\" (it holds 13 tensors"),
              std::string::npos);
  }
}

TEST(Safetensors, DamagedFrameIsNamed) {
  EXPECT_EQ(open_error("1234567"), "it is shorter than 8 bytes");
  EXPECT_EQ(open_error(file_text("{}", "", 3)),
            "it claims a header of 3 bytes in a file of 10 bytes");
  EXPECT_EQ(open_error(file_text("{}", "", ~uint64_t{0})),
            "it claims a header of 18446744073709551615 bytes in a file of 10 bytes");
  EXPECT_EQ(open_error(file_text("{}", "", 0)), "the header does not begin with '{'");
  EXPECT_EQ(open_error(std::string("{}\0{}", 5), 0), "the header holds a zero byte");
  EXPECT_EQ(open_error(" {}", 0), "the header does not begin with '{'");
  EXPECT_EQ(open_error("{} x", 0), "the header is not JSON at its byte 4");
  EXPECT_EQ(open_error("{\"x\xFF\":{}}", 0), "the header is not JSON at its byte 4");
  EXPECT_EQ(open_error("{}", 4), "4 bytes at its end belong to no tensor");
}

TEST(Safetensors, WrongJsonShapeIsNamed) {
  const std::string good = R"("dtype":"U8","shape":[4],"data_offsets":[0,4])";
  EXPECT_EQ(open_error("{\"x\":{" + good + "}}", 4), "no error");
  EXPECT_EQ(open_error("{\"x\":3}", 0), "\"x\" is a number, not an object");
  EXPECT_EQ(open_error("{\"x\":[]}", 0), "\"x\" is an array, not an object");
  EXPECT_EQ(open_error("{\"x\":{}}", 0), "tensor \"x\" lacks dtype, shape or data_offsets");
  EXPECT_EQ(open_error("{\"x\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4),
            "tensor \"x\" lacks dtype, shape or data_offsets");
  EXPECT_EQ(open_error("{\"x\":{" + good + "},\"x\":{" + good + "}}", 4), "\"x\" occurs twice");
  EXPECT_EQ(open_error("{\"x\":{" + good + ",\"dtype\":\"U8\"}}", 4),
            "tensor \"x\" states \"dtype\" twice");
  EXPECT_EQ(open_error("{\"x\":{" + good + ",\"shape\":[4]}}", 4),
            "tensor \"x\" states \"shape\" twice");
  EXPECT_EQ(open_error("{\"x\":{" + good + ",\"more\":\"U8\"}}", 4),
            "tensor \"x\": \"more\" may not be a string");
  EXPECT_EQ(open_error(R"({"x":{"dtype":8}})", 0), "tensor \"x\": \"dtype\" may not be a number");
  EXPECT_EQ(open_error(R"({"x":{"shape":[-1]}})", 0),
            "tensor \"x\": \"shape\" may not be a negative number");
  EXPECT_EQ(open_error(R"({"x":{"shape":[1.5]}})", 0),
            "tensor \"x\": \"shape\" may not be a fraction, or a number that is too large,");
  EXPECT_EQ(open_error(R"({"x":{"shape":[18446744073709551616]}})", 0),
            "tensor \"x\": \"shape\" may not be a fraction, or a number that is too large,");
  EXPECT_EQ(open_error(R"({"x":{"shape":[[1]]}})", 0),
            "tensor \"x\": \"shape\" may not be an array");
  EXPECT_EQ(open_error(R"({"__metadata__":{"a":1}})", 0),
            "metadata \"a\" is a number, not a string");
  EXPECT_EQ(open_error(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "metadata \"a\" occurs twice");
  EXPECT_EQ(open_error(R"({"__metadata__":{},"__metadata__":{}})", 0),
            "\"__metadata__\" occurs twice");
}

TEST(Safetensors, DeeplyNestedHeaderIsRefused) {
  EXPECT_EQ(open_error("{\"x\":" + std::string(1000000, '['), 0),
            "\"x\" is an array, not an object");
}

std::string tensor_json(const std::string& name, const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}

TEST(Safetensors, WrongSizesAndOffsetsAreNamed) {
  const auto error = [](const std::string& a, const std::string& b, size_t bytes) {
    return open_error("{" + a + (b.empty() ? "" : "," + b) + "}", bytes);
  };
  EXPECT_EQ(error(tensor_json("x", "F4", "2", "0,1"), "", 1),
            "tensor \"x\" has the unknown dtype \"F4\"");
  EXPECT_EQ(error(tensor_json("x", "F32", "1", "0,8"), "", 4),
            "tensor \"x\" has data_offsets 0 to 8, but the file holds 4 bytes of data");
  EXPECT_EQ(error(tensor_json("x", "F32", "1", "4,0"), "", 4),
            "tensor \"x\" has data_offsets 4 to 0, but the file holds 4 bytes of data");
  EXPECT_EQ(error(tensor_json("x", "F32", "1", "0,4,4"), "", 4),
            "tensor \"x\" has not two data_offsets");
  EXPECT_EQ(error(tensor_json("x", "F32", "2, 3", "0,20"), "", 20),
            "tensor \"x\" has shape [2, 3] and dtype F32, 24 bytes, but data_offsets of 20 bytes");
  // 2^32 * 2^32 elements would be 0 bytes in 64-bit arithmetic that wraps.
  EXPECT_EQ(error(tensor_json("x", "U8", "4294967296, 4294967296", "0,0"), "", 0),
            "tensor \"x\" has shape [4294967296, 4294967296], too large to exist");
  EXPECT_EQ(error(tensor_json("x", "U8", "0, 9223372036854775807, 2", "0,0"), "", 0),
            "tensor \"x\" has shape [0, 9223372036854775807, 2], too large to exist");
  EXPECT_EQ(error(tensor_json("x", "U8", "18446744073709551615", "0,0"), "", 0),
            "tensor \"x\" has shape [18446744073709551615], too large to exist");
  EXPECT_EQ(error(tensor_json("x", "U8", "4", "0,4"), tensor_json("y", "U8", "4", "2,6"), 6),
            "tensor \"y\" overlaps another");
  EXPECT_EQ(error(tensor_json("x", "U8", "4", "0,4"), tensor_json("y", "U8", "1", "5,6"), 6),
            "tensor \"y\" follows a gap");
  EXPECT_EQ(error(tensor_json("x", "U8", "4", "0,4"), tensor_json("y", "U8", "4", "0,4"), 4),
            "tensor \"y\" overlaps another");
  std::string many = "1";
  for (int i = 0; i < 64; ++i) many += ",1";
  EXPECT_EQ(error(tensor_json("x", "U8", many, "0,1"), "", 1),
            "tensor \"x\" has more than 64 dimensions");
}

TEST(Safetensors, NamesFromTheFileStayOnOneLineInMessages) {
  const std::string message = open_error("{\"a\\nb" + std::string(500, 'c') + "\":3}", 0);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 200u);
}

TEST(Safetensors, BoolOtherThanZeroAndOneIsRefused) {
  const TemporaryFolder folder;
  write_file_synced(folder / "f",
                    file_text("{" + tensor_json("mask", "BOOL", "3", "0,3") + "}", "\1\2\1"));
  const auto file = SafetensorsFile::open(folder / "f");
  EXPECT_THROW(file.get("mask"), IoError);
}

TEST(Safetensors, FileShortenedAfterOpeningIsAnError) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"x", torch::zeros({10000})}});
  const auto file = SafetensorsFile::open(folder / "f");
  fs::resize_file(folder / "f", 20000);
  EXPECT_THROW(file.get("x"), IoError);
}

// Reads everything; false if the file is refused with IoError. Other exceptions fail the test.
bool readable(const fs::path& path) {
  try {
    for (const auto& [name, tensor] : read_safetensors(path)) {
      EXPECT_TRUE(tensor.is_contiguous());
    }
    return true;
  } catch (const IoError&) {
    return false;
  }
}

TEST(Safetensors, DamageIsRefusedOrReadButNeverCrashes) {
  const TemporaryFolder folder(memory_folder());
  const std::vector<uint8_t> intact = read_file(kGolden / "safetensors_all_types.safetensors");
  const auto header_end = 8 + static_cast<uint32_t>(intact[0] + 256 * intact[1]);
  RngStream random(rng_key(0, kTestPurpose), 1);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<uint8_t> damaged = intact;
    if (i % 5 == 0) {  // truncate: always refused, for the tensors no longer tile the file
      damaged.resize(random.below(static_cast<uint32_t>(intact.size())));
    } else {  // flip one to eight bits, mostly of the header
      for (uint32_t flips = 1 + random.below(8); flips > 0; --flips) {
        const bool anywhere = random.below(4) == 0;
        const auto range = anywhere ? static_cast<uint32_t>(intact.size()) : header_end;
        damaged[random.below(range)] ^= static_cast<uint8_t>(1u << random.below(8));
      }
    }
    OutputFile(folder / "f").write(damaged);
    const bool read = readable(folder / "f");
    refused += read ? 0 : 1;
    EXPECT_FALSE(read && i % 5 == 0);
  }
  EXPECT_GT(refused, 300);  // a flip within a name or the data may leave a readable file
}

}  // namespace
}  // namespace ddpm::io
