#include "ddpm/io/npy.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io::npy_test {
namespace {

using fixtures::Bytes;
using fixtures::message_of;

Bytes golden(const std::string& name) {
  return ZipReader(DDPM_SOURCE_DIR "/tests/golden/numpy_arrays.npz").read(name + ".npy");
}

// scripts/make_npy_golden.py: int64 [3,6,5,3].
torch::Tensor numbers() {
  const auto axis = [](int64_t size, int place) {
    std::vector<int64_t> sizes(4, 1);
    sizes[place] = size;
    return torch::arange(size).view(sizes);
  };
  return (37 * axis(3, 0) + 11 * axis(6, 1) + 5 * axis(5, 2) + 83 * axis(3, 3)).remainder(256);
}

// A .npy file of version 1 with this text as its header.
Bytes with_header(const std::string& text, const Bytes& data = {}) {
  const std::string length = {static_cast<char>(text.size() & 255),
                              static_cast<char>(text.size() >> 8)};
  Bytes bytes = fixtures::from_text("\x93NUMPY\x01" + std::string(1, '\0') + length + text);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

TEST(Npy, ReadsEveryTypeAndOrderThatNumpyWrites) {
  const torch::Tensor bytes = numbers(), unit = bytes.to(torch::kDouble) / 255;
  const std::vector<std::pair<std::string, torch::Tensor>> files = {
      {"u1", bytes.to(torch::kByte)},
      {"u1_version2", bytes.to(torch::kByte)},
      {"u1_version3", bytes.to(torch::kByte)},
      {"u1_fortran", bytes.to(torch::kByte)},
      {"u1_nchw", bytes.to(torch::kByte).permute({0, 3, 1, 2})},
      {"u1_nhw", bytes.to(torch::kByte).select(3, 0)},
      {"b1", bytes >= 128},
      {"f2", unit.to(torch::kHalf)},
      {"f4", unit.to(torch::kFloat)},
      {"f4_big", unit.to(torch::kFloat)},
      {"f8_signed", 2 * unit - 1},
      {"f8_fortran_big", bytes.to(torch::kDouble)},
      {"i1", (bytes - 128).to(torch::kChar)},
      {"i2_big", (bytes - 128).to(torch::kShort)},
      {"i4", (bytes - 128).to(torch::kInt)},
      {"i8_big", bytes - 128},
      {"u2", (bytes * 257).to(torch::kInt)},
      {"u4_big", bytes * 257},
      {"u8", bytes * 257},
      {"scalar", torch::tensor(int64_t{7})},
  };
  const TemporaryFolder folder;
  for (const auto& [name, expected] : files) {
    const torch::Tensor read = parse_npy(golden(name), name);
    EXPECT_EQ(read.scalar_type(), expected.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(read, expected)) << name;
    fixtures::write(folder / "x.npy", golden(name));
    EXPECT_TRUE(torch::equal(read_npy(folder / "x.npy"), expected)) << name << ", mapped";
  }
}

// The bytes that numpy 2.0 saves: np.save(f, np.array([[1, 258, 65535]], "<u2")).
TEST(Npy, WritesWhatNumpyWrites) {
  const torch::Tensor values = torch::tensor({1, 258, 65535}, torch::kInt).view({1, 3});
  const Bytes written = encode_npy(values.to(torch::kUInt16));
  std::string text = "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 3), }";
  text.resize(117, ' ');
  text += '\n';
  const Bytes expected = fixtures::from_text("\x93NUMPY\x01" + std::string("\0\x76\0", 3) + text +
                                             std::string("\x01\x00\x02\x01\xff\xff", 6));
  EXPECT_EQ(written, expected);
  EXPECT_TRUE(parse_npy(written, "x").equal(values));
  const torch::Tensor floats = torch::randn({2, 3, 4});
  EXPECT_TRUE(parse_npy(encode_npy(floats.transpose(0, 2)), "x").equal(floats.transpose(0, 2)));
  const torch::Tensor bytes = torch::arange(7).to(torch::kByte);
  EXPECT_TRUE(parse_npy(encode_npy(bytes), "x").equal(bytes));
}

TEST(Npy, MappedArraysStayWhenTheFileIsRemovedAndDoNotWriteToIt) {
  const TemporaryFolder folder;
  fixtures::write(folder / "x.npy", golden("u1"));
  torch::Tensor mapped = read_npy(folder / "x.npy");
  mapped.add_(1);
  EXPECT_EQ(fixtures::read(folder / "x.npy"), golden("u1"));
  std::filesystem::remove(folder / "x.npy");
  EXPECT_TRUE(torch::equal(mapped, (numbers() + 1).remainder(256).to(torch::kByte)));
}

TEST(Npy, HeaderTellsTypeOrderAndPlace) {
  const NpyHeader header = parse_npy_header(golden("f8_fortran_big"), "x");
  EXPECT_EQ(header.type_name(), "float64");
  EXPECT_TRUE(header.big_endian);
  EXPECT_TRUE(header.fortran_order);
  EXPECT_EQ(header.sizes, (std::vector<int64_t>{3, 6, 5, 3}));
  EXPECT_EQ(header.byte_count(), 3u * 6 * 5 * 3 * 8);
  EXPECT_EQ(header.data_offset, golden("f8_fortran_big").size() - header.byte_count());
}

TEST(Npy, ReadsHeadersAsOtherWritersLayThemOut) {
  for (const char* text : {"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n",
                           "{\"shape\":(2),\"fortran_order\":False,\"descr\":\"|u1\"}",
                           "{'shape': (2L,), 'fortran_order': False, 'descr': 'u1'}   \n"}) {
    const torch::Tensor array = parse_npy(with_header(text, {5, 6}), "x");
    EXPECT_TRUE(torch::equal(array, torch::tensor({5, 6}, torch::kByte))) << text;
  }
}

TEST(Npy, SaysWhatIsWrong) {
  const auto error = [](const Bytes& bytes) {
    return message_of<IoError>([&] { parse_npy(bytes, "a.npy"); });
  };
  const std::string begin = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  EXPECT_CONTAINS(error(fixtures::from_text("PK, a zip or so")), "a.npy: is not a .npy file");
  EXPECT_CONTAINS(error({}), "is empty");
  EXPECT_CONTAINS(
      error(with_header(begin + "(2, 3)}", Bytes(20, 0))),
      "is cut short: its header announces 24 bytes of data (2 x 3 of float32), it holds "
      "20; save or fetch it again");
  EXPECT_CONTAINS(error(with_header(begin + "(2, 3)}", Bytes(25, 0))), "is too long");
  EXPECT_CONTAINS(error(with_header(begin + "(2, -3)}")), "a number expected");
  EXPECT_CONTAINS(error(with_header(begin + "(2, 3")), "')' expected");
  EXPECT_CONTAINS(error(with_header(begin + "(1,1,1,1,1,1,1,1,1)}")), "more than 8 axes");
  EXPECT_CONTAINS(error(with_header(begin + "(99999999999999999999,)}")), "beyond 64 bits");
  EXPECT_CONTAINS(error(with_header(begin + "(4000000000, 4000000000)}")),
                  "announces 4000000000 x 4000000000 values");
  EXPECT_CONTAINS(error(with_header(begin + "(0, 4000000000, 4000000000)}")),
                  "announces 0 x 4000000000 x 4000000000 values");
  EXPECT_CONTAINS(error(with_header("{'descr': '<f4', 'shape': (2,)}")), "is missing");
  EXPECT_CONTAINS(error(with_header("{'descr': '<f4', 'colour': 3}")), "unknown entry 'colour'");
  EXPECT_CONTAINS(error(with_header("{'descr': '|O', }")), "Python objects");
  EXPECT_CONTAINS(error(with_header("{'descr': 'f16', }")), "NumPy type 'f16'");
  EXPECT_CONTAINS(error(with_header("{'descr': 'f1', }")), "NumPy type 'f1'");
  EXPECT_CONTAINS(error(golden("text")), "NumPy type '<U2'");
  EXPECT_CONTAINS(error(golden("complex")), "NumPy type '<c16'");
  EXPECT_CONTAINS(error(golden("records")), "holds records");
  Bytes version = golden("u1");
  version[6] = 9;
  EXPECT_CONTAINS(error(version), "version 9");
  Bytes long_header = golden("u1_version2");
  long_header[10] = 0xFF;
  EXPECT_CONTAINS(error(long_header), "a .npy header of");
  const TemporaryFolder folder;
  EXPECT_CONTAINS(message_of<IoError>([&] { read_npy(folder / "no.npy"); }),
                  "no.npy: cannot be opened");
  EXPECT_CONTAINS(message_of<IoError>([&] { read_npy(folder.path()); }), "is not a regular file");
  fixtures::write(folder / "empty.npy", {});
  EXPECT_CONTAINS(message_of<IoError>([&] { read_npy(folder / "empty.npy"); }),
                  "empty.npy: is empty");
}

TEST(Npy, NoProperPrefixIsAnArray) {
  const Bytes whole = golden("f4_big");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse_npy(Bytes(whole.begin(), whole.begin() + static_cast<int64_t>(size)), "x"),
                 IoError)
        << size;
  }
}

TEST(Npy, DamageIsRefusedOrReadButNeverCrashes) {
  uint32_t state = 7;
  const auto random = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
  const Bytes whole = golden("f8_fortran_big");
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    Bytes bytes = whole;
    for (uint32_t i = 0; i < 1 + random() % 4; ++i)
      bytes[6 + random() % 80] = static_cast<uint8_t>(random());
    try {
      EXPECT_LE(parse_npy(bytes, "x").numel(), 3 * 6 * 5 * 3 * 8);
    } catch (const IoError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 2500);
}

}  // namespace
}  // namespace ddpm::io::npy_test
