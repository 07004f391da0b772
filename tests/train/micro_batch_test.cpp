#include "ddpm/train/micro_batch.h"

#include "ddpm/base/error.h"

#include <functional>
#include <new>
#include <vector>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

// Memory for `limit` images.
struct Memory {
  int64_t limit;
  std::vector<int64_t> tried;
  void operator()(int64_t count) {
    tried.push_back(count);
    if (count > limit) TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory");
  }
};

int64_t find(int64_t share, int64_t first, Memory& memory) {
  return largest_that_fits(share, first, torch::kCPU, std::ref(memory));
}

TEST(MicroBatch, AShareThatFitsStaysWhole) {
  Memory memory{64, {}};
  EXPECT_EQ(find(64, 64, memory), 64);
  EXPECT_EQ(memory.tried, (std::vector<int64_t>{64}));
}

TEST(MicroBatch, IsHalvedUntilItFits) {
  Memory memory{20, {}};
  EXPECT_EQ(find(64, 64, memory), 16);
  EXPECT_EQ(memory.tried, (std::vector<int64_t>{64, 32, 16}));
}

TEST(MicroBatch, AlwaysDividesTheShare) {
  Memory memory{20, {}};
  EXPECT_EQ(find(45, 45, memory), 15);  // not 22: a divisor
  Memory small{1, {}};
  EXPECT_EQ(find(45, 9, small), 1);
  EXPECT_EQ(small.tried, (std::vector<int64_t>{9, 3, 1}));
}

TEST(MicroBatch, OneImageTooManyIsAnErrorWithAWayOut) {
  Memory memory{0, {}};
  try {
    find(4, 4, memory);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("not even one image"), std::string::npos);
  }
}

TEST(MicroBatch, OtherErrorsAreNotTakenForMemory) {
  EXPECT_THROW(largest_that_fits(4, 4, torch::kCPU, [](int64_t) { throw Error("other"); }), Error);
  EXPECT_FALSE(is_out_of_memory(Error("other")));
  EXPECT_TRUE(is_out_of_memory(std::bad_alloc()));
}

TEST(MicroBatch, SizesBeyondAllMemoryAreRecognised) {
  const auto recognised = [](const std::function<void()>& attempt) {
    try {
      attempt();
    } catch (const std::exception& error) {
      EXPECT_TRUE(is_out_of_memory(error)) << error.what();
      return;
    }
    FAIL() << "that fits";
  };
  recognised([] { torch::empty({int64_t{1} << 62, 8, 8}); });
  recognised([] { torch::empty({int64_t{1} << 61, 1}, torch::kLong); });
  recognised([] { std::vector<int64_t>(static_cast<size_t>(1) << 62); });
}

TEST(MicroBatch, TheCpuAllocatorsRefusalIsRecognised) {
  try {
    torch::empty({int64_t{1} << 50}, torch::kByte);
    GTEST_SKIP() << "this system gives a petabyte";
  } catch (const std::exception& error) {
    EXPECT_TRUE(is_out_of_memory(error)) << error.what();
  }
}

}  // namespace
}  // namespace ddpm::train
