#include "ddpm/base/philox.h"

#include <array>

#include <gtest/gtest.h>

namespace ddpm {
namespace {

struct KnownAnswer {
  std::array<uint32_t, 4> counter;
  std::array<uint32_t, 2> key;
  std::array<uint32_t, 4> words;
};

// philox4x32 with 10 rounds, from kat_vectors of Random123 (Salmon et al. 2011).
constexpr KnownAnswer kKnownAnswers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Philox, GivesRandom123sKnownAnswers) {
  for (const auto& [c, k, words] : kKnownAnswers) {
    const uint64_t id = uint64_t{c[3]} << 32 | c[2];  // counter words: index, step, id low, id high
    const Words out = philox(RngKey{{k[0], k[1]}}, id, c[1], c[0]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(out.w[i], words[i]);
  }
}

TEST(Philox, EveryArgumentMatters) {
  const RngKey key{{1, 2}};
  const auto first = [](const Words& words) { return words.w[0]; };
  const uint32_t base = first(philox(key, 3, 4, 5));
  EXPECT_NE(base, first(philox(RngKey{{2, 2}}, 3, 4, 5)));
  EXPECT_NE(base, first(philox(RngKey{{1, 3}}, 3, 4, 5)));
  EXPECT_NE(base, first(philox(key, 4, 4, 5)));
  EXPECT_NE(base, first(philox(key, 3 + (uint64_t{1} << 32), 4, 5)));
  EXPECT_NE(base, first(philox(key, 3, 5, 5)));
  EXPECT_NE(base, first(philox(key, 3, 4, 6)));
}

TEST(UniformOpen, NeverReachesItsEndsAndIsSymmetric) {
  EXPECT_GT(uniform_open(0), 0.0f);
  EXPECT_LT(uniform_open(0xffffffff), 1.0f);
  for (uint32_t i = 0; i < 10000; ++i) {
    const uint32_t word = philox(RngKey{{0, 0}}, 0, 0, i).w[0];
    EXPECT_EQ(uniform_open(word), 1.0f - uniform_open(~word));  // exact: a multiple of 2^-24
  }
}

TEST(UniformOpen, CellsAreEquallyWide) {
  constexpr uint32_t kCell = 1u << 9;
  for (const uint32_t cell : {0u, 1u, 1000u, (1u << 22) - 1, 1u << 22, (1u << 23) - 2}) {
    const uint32_t word = cell * kCell;
    EXPECT_EQ(uniform_open(word), uniform_open(word + kCell - 1));
    EXPECT_EQ(uniform_open(word + kCell) - uniform_open(word), 1.0f / 8388608.0f);
  }
}

TEST(UniformBelow, MapsTheEndsToTheEnds) {
  EXPECT_EQ(uniform_below(0, 10), 0u);
  EXPECT_EQ(uniform_below(0xffffffff, 10), 9u);
  EXPECT_EQ(uniform_below(0xffffffff, 1), 0u);
  EXPECT_EQ(uniform_below(0x7fffffff, 2), 0u);
  EXPECT_EQ(uniform_below(0x80000000, 2), 1u);
}

// r^2 = -2 ln u and the angle 2 pi v determine both numbers.
TEST(BoxMuller, PutsThePointAtItsRadiusAndAngle) {
  for (uint32_t i = 0; i < 1000; ++i) {
    const Words words = philox(RngKey{{0, 0}}, 0, 0, i);
    float x, y;
    box_muller(words.w[0], words.w[1], &x, &y);
    const double radius = std::sqrt(-2.0 * std::log(double{uniform_open(words.w[0])}));
    const double angle = 2.0 * M_PI * double{uniform_open(words.w[1])};
    // float32: the angle is rounded to 2^-22 at most, times a radius below 6, and a few roundings.
    EXPECT_NEAR(x, radius * std::cos(angle), 3e-6);
    EXPECT_NEAR(y, radius * std::sin(angle), 3e-6);
  }
}

TEST(BoxMuller, IsFiniteAtTheEnds) {
  for (const uint32_t a : {0u, 0xffffffffu}) {
    for (const uint32_t b : {0u, 0xffffffffu}) {
      float x, y;
      box_muller(a, b, &x, &y);
      EXPECT_TRUE(std::isfinite(x) && std::isfinite(y));
      EXPECT_LT(std::hypot(x, y), 5.78f);  // sqrt(-2 ln 2^-24) = 5.768
    }
  }
}

}  // namespace
}  // namespace ddpm
