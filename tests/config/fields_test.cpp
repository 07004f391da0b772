#include "ddpm/config/fields.h"

#include <limits>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::config {
namespace {

enum class Fruit { kApple, kPear, kPlum };
constexpr auto names_of(Fruit) { return std::array{"apple", "pear", "plum"}; }

struct Basket {
  int64_t count = 3;
  uint64_t seed = 7;
  double weight = 0.5;
  bool ripe = true;
  bool organic = false;
  bool peeled = false, peeled_by_data = false;
  Fruit fruit = Fruit::kPear;
  std::string label = "mine";
  std::string colour = "red";
  std::filesystem::path origin = "garden";
  std::vector<int64_t> sizes{1, 2};
  std::vector<double> prices{0.25, 1};
  std::vector<std::string> owners{"ann", "bob"};

  bool operator==(const Basket&) const = default;
};

void fields(Fields& f, Basket& b) {
  f("count", b.count, at_least(0));
  f("seed", b.seed, {0, int64_t{1} << 53});
  f("weight", b.weight, positive());
  f("ripe", b.ripe);
  f.two("farming", b.organic, "usual", "organic");
  f.boolean_or_auto("peeled", b.peeled, b.peeled_by_data);
  f("fruit", b.fruit);
  f("label", b.label);
  f("colour", b.colour, {"red", "green"});
  f("origin", b.origin);
  f("sizes", b.sizes, {1, 9}, 1);
  f("prices", b.prices, positive(), 1);
  f("owners", b.owners);
}

/// As if somebody had added one key to Basket.
struct Extended : Basket {
  int64_t extra = 41;
  std::string extra_key = "extra";
  bool operator==(const Extended& other) const {
    return Basket::operator==(other) && extra == other.extra;
  }
};

void fields(Fields& f, Extended& e) {
  fields(f, static_cast<Basket&>(e));
  f(e.extra_key, e.extra, at_least(0));
}

template <class Config>
Config parsed(const std::string& text) {
  Document document = Document::parse(text, "basket.toml");
  Reader reader = document.section("basket");
  const auto config = config::read<Config>(reader);
  document.check_all_read();
  return config;
}

std::string complaint(const std::string& line) {
  try {
    parsed<Basket>("[basket]\n" + line);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Fields, ReadEveryTypeAndKeepDefaults) {
  EXPECT_TRUE(parsed<Basket>("") == Basket{});
  const auto b = parsed<Basket>(
      "[basket]\ncount = 5\nseed = 9\nweight = 2\nripe = false\nfarming = 'organic'\npeeled = "
      "true\nfruit = 'plum'\nlabel = 'x'\ncolour = 'green'\norigin = 'a/b'\nsizes = 4\nprices = "
      "[3]\nowners = ['c']");
  EXPECT_TRUE(b == (Basket{5,
                           9,
                           2.0,
                           false,
                           true,
                           true,
                           false,
                           Fruit::kPlum,
                           "x",
                           "green",
                           "a/b",
                           {4},
                           {3.0},
                           {"c"}}));
  EXPECT_TRUE(parsed<Basket>("[basket]\npeeled = 'auto'").peeled_by_data);
}

TEST(Fields, ErrorsAreLocatedAndNameWhatIsRight) {
  EXPECT_EQ(complaint("count = -1"),
            "basket.toml:2:9: basket.count: is -1; must be an integer, at least 0");
  EXPECT_EQ(
      complaint("fruit = 'plumb'"),
      "basket.toml:2:9: basket.fruit: is \"plumb\"; must be one of apple, pear, plum (did you "
      "mean \"plum\"?)");
  EXPECT_NE(complaint("farming = 'none'").find("must be one of usual, organic"), std::string::npos);
  EXPECT_NE(complaint("sizes = []").find("at least 1"), std::string::npos);
  EXPECT_NE(complaint("fruits = 1").find("did you mean basket.fruit"), std::string::npos);
}

TEST(Fields, WriteTomlThatReadsBack) {
  Basket b;
  b.label = "a \"quoted\"\nline, größe";
  b.weight = 1.0;
  b.organic = b.peeled = true;
  b.fruit = Fruit::kApple;
  const std::string text = to_toml(b, "basket");
  EXPECT_TRUE(
      text.starts_with("[basket]\ncount = 3\nseed = 7\nweight = 1.0\nripe = true\n"
                       "farming = \"organic\"\npeeled = true\nfruit = \"apple\"\n"))
      << text;
  EXPECT_TRUE(parsed<Basket>(text) == b);
}

TEST(Fields, WriteJson) {
  Basket b;
  b.label = "caf\xE9";  // not UTF-8: escaped, or JSON could not hold it
  b.peeled_by_data = true;
  EXPECT_EQ(to_json(b).dump(),
            "{\"count\":3,\"seed\":7,\"weight\":0.5,\"ripe\":true,\"farming\":\"usual\",\"peeled\":"
            "\"auto\",\"fruit\":\"pear\",\"label\":\"caf\\\\xE9\",\"colour\":\"red\",\"origin\":"
            "\"garden\",\"sizes\":[1,2],\"prices\":[0.25,1.0],\"owners\":[\"ann\",\"bob\"]}");
}

// One line in fields() is all that a new key needs.
TEST(Fields, ANewKeyIsOneLine) {
  std::mt19937 random(std::random_device{}());
  Extended e;
  e.extra_key = fmt::format("key_{}", random());
  e.extra = random() % 1000;
  Document document = Document::parse(fmt::format("[basket]\n{} = {}", e.extra_key, e.extra), "f");
  Reader reader = document.section("basket");
  Extended read;
  read.extra_key = e.extra_key;
  FieldReader visitor(reader);
  fields(visitor, read);
  document.check_all_read();
  EXPECT_TRUE(read == e) << e.extra_key;
  EXPECT_FALSE(read == Extended{});
  const std::string line = fmt::format("{} = {}\n", e.extra_key, e.extra);
  EXPECT_NE(to_toml(read, "basket").find(line), std::string::npos);
  EXPECT_NE(document.effective().find(line), std::string::npos);
  EXPECT_EQ(to_json(read).at(e.extra_key), e.extra);
  const KeyDeclaration declared = document.declarations().back();
  EXPECT_EQ(declared.key, e.extra_key);
  EXPECT_EQ(declared.fallback, "41");
  EXPECT_EQ(declared.range, "at least 0");
}

TEST(Names, GoBothWays) {
  EXPECT_EQ(names<Fruit>(), (std::vector<std::string>{"apple", "pear", "plum"}));
  for (const std::string& name : names<Fruit>())
    EXPECT_EQ(to_string(value_named<Fruit>(name).value()), name);
  EXPECT_FALSE(value_named<Fruit>("kiwi"));
}

}  // namespace
}  // namespace ddpm::config
