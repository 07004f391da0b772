// Overrides, the declarations of keys, and the effective config.

#include "tests/config/document_fixture.h"

#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

namespace ddpm::config {
namespace {

TEST(Set, TakesNumbersTextBareWordsAndArrays) {
  Document d = Document::parse("[a]\ni = 1\nt = 'old'\n", "f");
  for (const char* assignment :
       {"a.i=5", "a.r=1e-3", "a.b=true", "a.t=runs/my run#2", "a.q=\"in quotes\"", "a.c=two",
        "a.is=[1,2,4]", "a.e=", "a.eq=x=y", " a.space = 7 "}) {
    d.set(assignment);
  }
  Reader a = d.section("a");
  EXPECT_EQ(a.integer("i", 0, kAnyInteger), 5);
  EXPECT_EQ(a.real("r", 0, kAnyReal), 1e-3);
  EXPECT_TRUE(a.boolean("b", false));
  EXPECT_EQ(a.text("t", ""), "runs/my run#2");
  EXPECT_EQ(a.text("q", ""), "in quotes");
  EXPECT_EQ(a.choice("c", "one", {"one", "two"}), "two");
  EXPECT_EQ(a.integers("is", {}, kAnyInteger), (std::vector<int64_t>{1, 2, 4}));
  EXPECT_EQ(a.text("e", "default"), "");
  EXPECT_EQ(a.text("eq", ""), "x=y");
  EXPECT_EQ(a.integer("space", 0, kAnyInteger), 7);
  EXPECT_NO_THROW(d.check_all_read());
}

// A shell takes the quotes of --set data.path="12" away.
TEST(Set, TakesWhatLooksLikeANumberWhereTextIsAsked) {
  for (const std::string value : {"12", "1.50", "true", "2024-01-01", "007"}) {
    Document d = Document::parse("", "f");
    d.set("a.t=" + value);
    EXPECT_EQ(d.section("a").text("t", ""), value);
  }
  EXPECT_EQ(complaint("", {"data.path=[1, 2]"}),
            "--set data.path=[1, 2]: data.path: is [ 1, 2 ] (array); must be text in quotes");
}

TEST(Set, SaysWhereAValueIsFrom) {
  Document d = Document::parse("", "f");
  d.set("a.x=2", "--init-from net.pt");
  try {
    d.section("a").integer("x", 0, {0, 1});
    ADD_FAILURE() << "taken";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "--init-from net.pt: a.x: is 2; must be an integer, at least 0 and "
                 "at most 1");
  }
}

TEST(Set, LastOneWins) {
  Document d = Document::parse("[a]\ni = 1\n", "f");
  d.set("a.i=2");
  d.set("a.i=3");
  EXPECT_EQ(d.section("a").integer("i", 0, kAnyInteger), 3);
}

TEST(Set, IsNamedInErrors) {
  EXPECT_EQ(complaint("[train]\nsteps = 5", {"train.steps=0"}),
            "--set train.steps=0: train.steps: is 0; must be an integer, at least 1");
  EXPECT_EQ(complaint("", {"train.steps=many"}),
            "--set train.steps=many: train.steps: is \"many\" (string); must be an integer, at "
            "least 1");
  EXPECT_EQ(
      complaint("", {"train.steps=010"}),
      "--set train.steps=010: train.steps: is \"010\" (string); must be an integer, at least 1; "
      "write 10");
  EXPECT_EQ(complaint("", {"train.steps=0.5e"}),
            "--set train.steps=0.5e: train.steps: is \"0.5e\" (string); must be an integer, at "
            "least 1");
  EXPECT_EQ(complaint("", {"train.stps=5"}),
            "--set train.stps=5: train.stps: unknown key; did you mean train.steps?");
  EXPECT_EQ(complaint("", {"nothing.like=5"}),
            "--set nothing.like=5: nothing.like: unknown section; the sections are train, data");
  EXPECT_EQ(complaint("", {"data.image_size=[8, 0]"}),
            "--set data.image_size=[8, 0]: data.image_size: holds 0; each element must be an "
            "integer, at least 1 and at most 1024");
}

TEST(Set, NeedsSectionKeyAndValue) {
  for (const std::string wrong : {"train.steps", "steps=5", "=5", "train.=5", ".steps=5", ""}) {
    EXPECT_EQ(complaint("", {wrong}), "--set " + wrong +
                                          ": must have the form section.key=value, as in "
                                          "train.batch_size=64");
  }
}

// --- declarations() ---

TEST(Declarations, TellTypeDefaultAndRangeOfEveryKeyRead) {
  Document d = Document::parse("[a]\ni = 7\n", "f");
  Reader a = d.section("a");
  a.integer("i", 5, {1, 9});
  a.real("r", 0.5, positive());
  a.boolean("b", true);
  a.text("t", "x");
  a.choice("c", "one", {"one", "two"});
  a.integers("is", {1, 2}, at_least(0));
  a.texts("ts", {});
  a.integer("i", 6, {1, 9});  // the second reading of a key declares nothing
  std::string all;
  for (const KeyDeclaration& k : d.declarations())
    all += k.section + "." + k.key + "|" + k.type + "|" + k.fallback + "|" + k.range + "\n";
  EXPECT_EQ(all,
            "a.i|integer|5|at least 1 and at most 9\n"
            "a.r|number|0.5|above 0\n"
            "a.b|true or false|true|\n"
            "a.t|text|\"x\"|\n"
            "a.c|one of|\"one\"|one, two\n"
            "a.is|integers|[1, 2]|at least 0\n"
            "a.ts|texts|[]|\n");
}

// --- effective() ---

TEST(Effective, RepeatsEveryValueExactly) {
  const std::vector<double> reals{0.1,
                                  1.0 / 3.0,
                                  1e300,
                                  5e-324,
                                  -0.0,
                                  123456789012345680.0,
                                  2.0e-5,
                                  1e22,
                                  7.0,
                                  0.9999,
                                  1.7976931348623157e308};
  const std::vector<std::string> texts{"plain",    "",        "it's",       "\"quoted\"", "C:\\new",
                                       "a\nb",     "\nfirst", "tab\there",  "bell\x07",   "del\x7f",
                                       "größe 图", "'''",     "ends in \\", "#[x]=1"};
  const auto read_all = [&](Document& d, bool defaults) {
    Reader a = d.section("a");
    std::vector<double> r;
    std::vector<std::string> t;
    for (size_t i = 0; i < reals.size(); ++i)
      r.push_back(a.real("r" + std::to_string(i), defaults ? reals[i] : 99.0, kAnyReal));
    for (size_t i = 0; i < texts.size(); ++i)
      t.push_back(a.text("t" + std::to_string(i), defaults ? texts[i] : "other"));
    return std::tuple(r, t, a.reals("rs", defaults ? reals : std::vector<double>{}, kAnyReal),
                      a.texts("ts", defaults ? texts : std::vector<std::string>{}),
                      a.integer("i", defaults ? kAnyInteger.low : 0, kAnyInteger),
                      a.boolean("b", defaults));
  };
  Document first = Document::parse("", "first");
  const auto values = read_all(first, true);
  Document second = Document::parse(first.effective(), "second");
  const auto repeated = read_all(second, false);
  EXPECT_EQ(values, repeated);
  EXPECT_TRUE(std::signbit(std::get<0>(repeated)[4]));  // -0.0 keeps its sign
  EXPECT_NO_THROW(second.check_all_read());
  EXPECT_EQ(first.effective(), second.effective());
}

// What no TOML file can hold must not get into one.
TEST(Effective, RefusesTextThatIsNotUtf8AndEscapesNames) {
  EXPECT_EQ(
      complaint("", {"data.path=caf\xE9"}),
      "--set data.path=caf\\xE9: data.path: is \"caf\\xE9\", which is not UTF-8 (\\x marks the "
      "bytes): no config could hold it; rename it, or make a symbolic link with another "
      "name");
  EXPECT_EQ(complaint("", {"data.path=caf\xC3\xA9"}), "");
  Document d = Document::parse("", "f");
  d.section("a").texts("names", {"caf\xE9", "gr\xC3\xBC\xC3\x9F"});
  Document again = Document::parse(d.effective(), "effective");
  EXPECT_EQ(again.section("a").texts("names", {}),
            (std::vector<std::string>{"caf\\xE9", "gr\xC3\xBC\xC3\x9F"}));
}

TEST(Changes, AreTheValuesThatDifferHoweverTheyAreWritten) {
  const auto read = [](const std::string& text) {
    Document d = Document::parse(text, "f");
    Reader a = d.section("a");
    a.real("lr", 1e-3, kAnyReal);
    a.integers("sides", {8, 8}, kAnyInteger);
    a.boolean("flip", false);
    if (a.has("extra")) a.text("extra", "");
    return d;
  };
  const auto shown = [](const Document& was, const Document& is) {
    std::vector<std::string> lines;
    for (const Change& change : changes(was, is)) lines.push_back(to_string(change));
    return lines;
  };
  const Document plain = read("");
  EXPECT_TRUE(changes(plain, read("[a]\nflip = false\nsides = [8,8]\nlr = 0.1e-2")).empty());
  EXPECT_EQ(shown(plain, read("[a]\nflip = true\nlr = 1e-5")),
            (std::vector<std::string>{"a.lr 0.001 -> 1e-05", "a.flip false -> true"}));
  EXPECT_EQ(shown(plain, read("[a]\nextra = 'x'")),
            (std::vector<std::string>{"a.extra not set -> \"x\""}));
  EXPECT_EQ(shown(read("[a]\nextra = 'x'"), plain),
            (std::vector<std::string>{"a.extra \"x\" -> not set"}));
  const std::string line = to_string({"a.long", std::string(1000, '1'), "2"});
  EXPECT_LT(line.size(), 100u) << line;
}

TEST(Effective, HoldsFileValuesOverridesAndDefaults) {
  Document d = Document::parse("[a]\nx = 1\ny = 2\n", "f");
  d.set("a.y=3");
  Reader a = d.section("a");
  a.integer("x", 0, kAnyInteger);
  a.integer("y", 0, kAnyInteger);
  a.real("z", 4, kAnyReal);
  d.section("b").text("path", "here");
  EXPECT_EQ(d.effective(), "[a]\nx = 1\ny = 3\nz = 4.0\n\n[b]\npath = \"here\"\n");
  EXPECT_EQ(d.effective({"b"}), "[b]\npath = \"here\"\n");
}

}  // namespace
}  // namespace ddpm::config
