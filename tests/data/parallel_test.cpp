#include "src/data/parallel.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::data {
namespace {

TEST(ParallelFor, CallsEveryPlaceOnce) {
  for (const int64_t count : {0, 1, 7, 1000}) {
    std::vector<std::atomic<int>> calls(count);
    parallel_for(count, 5, "", [&](int64_t worker, int64_t i) {
      ASSERT_LT(worker, 5);
      ++calls[i];
    });
    for (const auto& n : calls) EXPECT_EQ(n, 1);
  }
}

TEST(ParallelFor, ThrowsTheLowestFailure) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> calls = 0;
    EXPECT_CONTAINS(fixtures::message_of<IoError>([&] {
                      parallel_for(100000, 6, "", [&](int64_t, int64_t i) {
                        ++calls;
                        if (i >= 50) throw IoError(std::to_string(i), "");
                      });
                    }),
                    "50: ");
    EXPECT_LT(calls, 100000);  // the rest is left
  }
}

}  // namespace
}  // namespace ddpm::data
