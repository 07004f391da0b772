#include "ddpm/base/error.h"
#include "ddpm/data/view.h"
#include "src/data/array_images.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace ddpm::data {
namespace {

// Image i has the value i and the label i mod the number of classes.
std::shared_ptr<const Dataset> numbered(std::vector<std::string> classes) {
  ImageArray array;
  array.count = 6;
  array.shape = {1, 2, 2};
  array.image = [](int64_t i) { return torch::full({1, 2, 2}, i, torch::kByte); };
  for (int64_t i = 0; i < array.count; ++i)
    array.labels.push_back(i % static_cast<int64_t>(classes.size()));
  array.classes = std::move(classes);
  return open_array(std::move(array), {});
}

using Numbers = std::vector<int64_t>;
using Names = std::vector<std::string>;

std::string refusal(const Names& classes, const KnownClasses& known) {
  try {
    class_numbers(classes, known);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(ClassNumbers, AreThoseOfTheNames) {
  EXPECT_EQ(class_numbers({"10", "2"}, {2, {"2", "10"}}), (Numbers{1, 0}));
  EXPECT_EQ(class_numbers({"dog"}, {3, {"bird", "cat", "dog"}}), (Numbers{2}));
  EXPECT_EQ(class_numbers({"caf\xE9", "bar"}, {2, {"bar", "caf\\xE9"}}), (Numbers{1, 0}))
      << "a description holds names as UTF-8";
}

TEST(ClassNumbers, AreThoseOfTheDataWhereNamesSayNothing) {
  EXPECT_EQ(class_numbers({"0", "1", "2"}, {3, {"bird", "cat", "dog"}}), (Numbers{0, 1, 2}));
  EXPECT_EQ(class_numbers({"cat", "dog"}, {10, {}}), (Numbers{0, 1}));
  EXPECT_EQ(class_numbers({"horse", "cow"}, {2, {"cat", "dog"}}), (Numbers{0, 1}));
}

TEST(ClassNumbers, AreRefusedWithBothSides) {
  EXPECT_EQ(refusal({"a", "b", "c", "d"}, {3, {"a", "b", "c"}}),
            "the data has 4 classes (a, b, c, d), the network knows 3 (a, b, c)");
  EXPECT_EQ(refusal({"horse"}, {2, {"cat", "dog"}}),
            "the data has 1 class (horse), the network knows 2 (cat, dog)");
  EXPECT_EQ(refusal({"0", "1", "2"}, {2, {}}),
            "the data has 3 classes (0, 1, 2), the network "
            "knows 2");
}

TEST(Relabelled, KeepsImagesAndChangesTheirClasses) {
  const auto whole = numbered({"dog", "cat"});
  const auto set = relabelled(whole, {2, 1}, {3, {"bird", "cat", "dog"}});
  EXPECT_EQ(set->class_count(), 3);
  EXPECT_EQ(set->class_names(), (Names{"bird", "cat", "dog"}));
  EXPECT_EQ(set->size(), whole->size());
  EXPECT_EQ(set->fingerprint(), whole->fingerprint());
  for (int64_t i = 0; i < set->size(); ++i) {
    EXPECT_TRUE(torch::equal(set->get(i).image, whole->get(i).image));
    EXPECT_EQ(set->get(i).label, i % 2 == 0 ? 2 : 1);
    EXPECT_EQ(set->get_uncropped(i).label, i % 2 == 0 ? 2 : 1);
  }
  EXPECT_THROW(relabelled(whole, {0}, {3, {}}), c10::Error);
}

}  // namespace
}  // namespace ddpm::data
