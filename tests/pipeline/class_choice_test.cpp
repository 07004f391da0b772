#include "ddpm/base/error.h"
#include "ddpm/pipeline/choices.h"
#include "tests/io/fixtures.h"

#include <gtest/gtest.h>

namespace ddpm::pipeline {
namespace {

using Texts = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

std::string error(const Texts& texts, const Texts& names, int64_t count) {
  return fixtures::message_of<UsageError>([&] { chosen_classes(texts, names, count, "--class"); });
}

TEST(ChosenClasses, AreNamesOrNumbers) {
  const Texts names{"cat", "dog", "bird"};
  EXPECT_EQ(chosen_classes({"dog,0", "bird"}, names, 3, "--class"), (Numbers{1, 0, 2}));
  EXPECT_EQ(chosen_classes({"#2"}, names, 3, "--class"), (Numbers{2}));
  EXPECT_EQ(chosen_classes({"2", "#1"}, {}, 3, "--class"), (Numbers{2, 1}));
  EXPECT_EQ(error({"3"}, names, 3), "--class 3: the network knows 0 to 2 (cat, dog, bird)");
  EXPECT_EQ(error({"3"}, {"a\nb"}, 1), "--class 3: the network knows 0 to 0 (a b)");
  EXPECT_EQ(error({"cats"}, {}, 3), "--class cats: the network knows 0 to 2");
  EXPECT_CONTAINS(error({"cat,"}, names, 3), "--class : the network knows");
  EXPECT_CONTAINS(error({"#"}, names, 3), "--class #: the network knows");
}

// Folders 1 to 12: the one named 1 has the number 0.
TEST(ChosenClasses, ANumberIsANameIfClassesAreNamedByNumbers) {
  const Texts names{"1", "2", "10", "other"};
  EXPECT_EQ(chosen_classes({"1", "10,2"}, names, 4, "--class"), (Numbers{0, 2, 1}));
  EXPECT_EQ(chosen_classes({"#1"}, names, 4, "--class"), (Numbers{1}));
  EXPECT_EQ(
      error({"0"}, names, 4),
      "--class 0: no class has this name, and classes named by numbers are chosen by name (1, "
      "2, 10, other); #0 is class number 0, \"1\"");
  EXPECT_CONTAINS(error({"1"}, {"01", "02"}, 2), "#1 is class number 1, \"02\"");
  EXPECT_CONTAINS(error({"11"}, names, 4),
                  "--class 11: the network knows 0 to 3 (1, 2, 10, other)");
  EXPECT_EQ(
      chosen_classes({"0", "9"}, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, 10, "--class"),
      (Numbers{0, 9}));
}

TEST(ChosenClasses, NamesMayHoldCommas) {
  const Texts names{"a,b", "a", "c\\d", "#1"};
  EXPECT_EQ(chosen_classes({"a,b"}, names, 4, "--class"), (Numbers{0}));
  EXPECT_EQ(chosen_classes({"a\\,b,a"}, names, 4, "--class"), (Numbers{0, 1}));
  EXPECT_EQ(chosen_classes({"a", "a,b"}, names, 4, "--class"), (Numbers{1, 0}));
  EXPECT_EQ(chosen_classes({"c\\d"}, names, 4, "--class"), (Numbers{2}));
  EXPECT_EQ(chosen_classes({"c\\\\d,#1"}, names, 4, "--class"), (Numbers{2, 3}));
}

TEST(ChosenClasses, AreListedInErrorsUpToTwenty) {
  Texts names;
  for (int i = 0; i < 1000; ++i) names.push_back("n" + std::to_string(i));
  const std::string message = error({"x"}, names, 1000);
  EXPECT_CONTAINS(message, "n18, n19, ... (1000 in all))");
  EXPECT_LT(message.size(), 300u);
}

}  // namespace
}  // namespace ddpm::pipeline
