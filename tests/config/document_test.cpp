#include "ddpm/config/document.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

namespace ddpm::config {
namespace {

constexpr Range<int64_t> kAnyInteger{std::numeric_limits<int64_t>::lowest(),
                                     std::numeric_limits<int64_t>::max()};
constexpr Range<double> kAnyReal{std::numeric_limits<double>::lowest(),
                                 std::numeric_limits<double>::max()};

// What a program that knows three sections says about a config, or "" where it accepts it.
std::string complaint(const std::string& text, const std::vector<std::string>& assignments = {}) {
  try {
    Document document = Document::parse(text, "run.toml");
    for (const std::string& assignment : assignments) document.set(assignment);
    Reader train = document.section("train");
    train.integer("steps", 100, at_least(1));
    train.integer("batch_size", 64, {1, 4096});
    train.real("lr", 1e-4, positive());
    train.real("dropout", 0.1, {0.0, 1.0, false, true});
    train.real("offset", 0.0, kAnyReal);
    train.boolean("flip", true);
    train.choice("precision", "fp32", {"fp32", "bf16", "fp64"});
    Reader data = document.section("data");
    data.text("path", "");
    data.integers("image_size", {32, 32}, {1, 1024}, 1);
    data.reals("betas", {0.9, 0.999}, {0.0, 1.0, false, true}, 2);
    data.texts("names", {});
    document.check_all_read();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

std::string with_file(const std::string& text, const std::function<void(const std::string&)>& use) {
  const auto path = std::filesystem::path(testing::TempDir()) / "ddpm_config_test.toml";
  std::ofstream(path, std::ios::binary) << text;
  use(path.string());
  std::filesystem::remove(path);
  return path.string();
}

// --- Values ---

TEST(Document, ReadsEveryTypeAsWritten) {
  Document d = Document::parse(
      "[a]\ni = -7\nr = 2.5e-3\nb = false\nt = 'x y'\nc = \"two\"\nis = [3, 1]\nrs = [0.5, 1]\n"
      "ts = ['p', \"q\"]\n",
      "f");
  Reader a = d.section("a");
  EXPECT_EQ(a.integer("i", 0, kAnyInteger), -7);
  EXPECT_EQ(a.real("r", 0, kAnyReal), 2.5e-3);
  EXPECT_FALSE(a.boolean("b", true));
  EXPECT_EQ(a.text("t", ""), "x y");
  EXPECT_EQ(a.choice("c", "one", {"one", "two"}), "two");
  EXPECT_EQ(a.integers("is", {}, kAnyInteger), (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(a.reals("rs", {}, kAnyReal), (std::vector<double>{0.5, 1.0}));
  EXPECT_EQ(a.texts("ts", {}), (std::vector<std::string>{"p", "q"}));
  EXPECT_NO_THROW(d.check_all_read());
}

TEST(Document, ReadsDefaultsFromAnEmptyFile) {
  Document d = Document::parse("", "f");
  Reader a = d.section("a");
  EXPECT_FALSE(a.has("i"));
  EXPECT_EQ(a.integer("i", 5, kAnyInteger), 5);
  EXPECT_EQ(a.real("r", 0.25, kAnyReal), 0.25);
  EXPECT_TRUE(a.boolean("b", true));
  EXPECT_EQ(a.text("t", "z"), "z");
  EXPECT_EQ(a.choice("c", "one", {"one", "two"}), "one");
  EXPECT_EQ(a.integers("is", {1, 2}, kAnyInteger), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(a.texts("ts", {"u"}), (std::vector<std::string>{"u"}));
}

TEST(Document, TakesAnIntegerWhereARealIsAsked) {
  Document d = Document::parse("[a]\nr = 3\nbig = 9007199254740993\n", "f");
  Reader a = d.section("a");
  EXPECT_EQ(a.real("r", 0, kAnyReal), 3.0);
  EXPECT_EQ(a.real("big", 0, kAnyReal), 9007199254740992.0);  // 2^53 + 1 rounds to even
}

TEST(Document, TakesAWholeRealForAnInteger) {
  Document d = Document::parse("[a]\nsteps = 1e6\nsame = 1000000.0\nsizes = [1e1, 20.0, 3]\n", "f");
  Reader a = d.section("a");
  EXPECT_EQ(a.integer("steps", 0, at_least(1)), 1000000);
  EXPECT_EQ(a.integer("same", 0, at_least(1)), 1000000);
  EXPECT_EQ(a.integers("sizes", {}, at_least(1)), (std::vector<int64_t>{10, 20, 3}));
  EXPECT_EQ(d.effective(), "[a]\nsteps = 1000000\nsame = 1000000\nsizes = [10, 20, 3]\n");
}

TEST(Document, TakesOneNumberForAnArrayOfOne) {
  Document d = Document::parse("[a]\nsize = 28\nbeta = 0.5\n", "f");
  Reader a = d.section("a");
  EXPECT_EQ(a.integers("size", {}, kAnyInteger), (std::vector<int64_t>{28}));
  EXPECT_EQ(a.reals("beta", {}, kAnyReal), (std::vector<double>{0.5}));
}

TEST(Document, AcceptsEveryTomlSpellingOfASection) {
  for (const std::string text :
       {"[train]\nsteps = 5", "train.steps = 5", "train = {steps = 5}", "[\"train\"]\n'steps' = 5",
        "\xEF\xBB\xBF[train]\nsteps = 5", "[train]\r\nsteps = 5\r\n", "[train]\nsteps = 0x5"}) {
    Document d = Document::parse(text, "f");
    EXPECT_EQ(d.section("train").integer("steps", 0, kAnyInteger), 5) << text;
    EXPECT_NO_THROW(d.check_all_read()) << text;
  }
}

TEST(Document, KnowsWhetherAKeyIsWritten) {
  Document d = Document::parse("[a]\nx = 1\n", "f");
  d.set("a.y=2");
  EXPECT_TRUE(d.section("a").has("x"));
  EXPECT_TRUE(d.section("a").has("y"));
  EXPECT_FALSE(d.section("a").has("z"));
  EXPECT_FALSE(d.section("b").has("x"));
}

// --- Complaints: one line, file:line:column: section.key: what is wrong; what would be right ---

TEST(DocumentErrors, NameAWrongType) {
  EXPECT_EQ(complaint("[train]\nsteps = 1.5"),
            "run.toml:2:9: train.steps: is 1.5 (floating-point); must be an integer, at least 1");
  EXPECT_EQ(complaint("[train]\nsteps = 1e18"),
            "run.toml:2:9: train.steps: is 1e+18 (floating-point); must be an integer, at least 1");
  EXPECT_EQ(
      complaint("[train]\nsteps = \"5\""),
      "run.toml:2:9: train.steps: is \"5\" (string); must be an integer, at least 1; write 5");
  EXPECT_EQ(complaint("[train]\nsteps = [1,\n 2]"),
            "run.toml:2:9: train.steps: is [ 1, 2 ] (array); must be an integer, at least 1");
  EXPECT_EQ(complaint("[train]\nsteps = {a = 1}"),
            "run.toml:2:9: train.steps: is { a = 1 } (table); must be an integer, at least 1");
  EXPECT_EQ(complaint("[train]\nlr = true"),
            "run.toml:2:6: train.lr: is true (boolean); must be a number, above 0");
  EXPECT_EQ(complaint("[train]\nflip = 1"),
            "run.toml:2:8: train.flip: is 1 (integer); must be true or false");
  EXPECT_EQ(complaint("[data]\npath = 2024-05-27"),
            "run.toml:2:8: data.path: is 2024-05-27 (date); must be text in quotes");
  EXPECT_EQ(complaint("[data]\nimage_size = 'big'"),
            "run.toml:2:14: data.image_size: is \"big\" (string); must be an array such as "
            "[1, 2, 2]");
}

TEST(DocumentErrors, NameAValueOutOfRange) {
  EXPECT_EQ(complaint("[train]\n\n  batch_size = 5000"),
            "run.toml:3:16: train.batch_size: is 5000; must be an integer, at least 1 and at most "
            "4096");
  EXPECT_EQ(complaint("[train]\nlr = 0"),
            "run.toml:2:6: train.lr: is 0.0; must be a number, above 0");
  EXPECT_EQ(complaint("[train]\ndropout = 1.0"),
            "run.toml:2:11: train.dropout: is 1.0; must be a number, at least 0 and below 1");
  EXPECT_EQ(complaint("[train]\nsteps = 1"), "");
  EXPECT_EQ(complaint("[train]\nbatch_size = 4096\ndropout = 0"), "");
}

TEST(DocumentErrors, RefuseNumbersThatAreNotFinite) {
  EXPECT_EQ(complaint("[train]\noffset = nan"),
            "run.toml:2:10: train.offset: is nan; must be a finite number");
  EXPECT_EQ(complaint("[train]\nlr = inf"),
            "run.toml:2:6: train.lr: is inf; must be a finite number, above 0");
  EXPECT_EQ(complaint("[data]\nbetas = [0.5, nan]"),
            "run.toml:2:15: data.betas: holds nan; each element must be a finite number, at least "
            "0 and below 1");
}

TEST(DocumentErrors, PointAtTheElementOfAnArray) {
  EXPECT_EQ(complaint("[data]\nimage_size = [32,\n  32,\n  0]"),
            "run.toml:4:3: data.image_size: holds 0; each element must be an integer, at least 1 "
            "and at most 1024");
  EXPECT_EQ(complaint("[data]\nimage_size = [[1, 2], [3]]"),
            "run.toml:2:15: data.image_size: holds [ 1, 2 ] (array); each element must be an "
            "integer, at least 1 and at most 1024");
  EXPECT_EQ(complaint("[data]\nimage_size = 0"),
            "run.toml:2:14: data.image_size: holds 0; each element must be an integer, at least 1 "
            "and at most 1024");
  EXPECT_EQ(complaint("[data]\nnames = ['a', 3]"),
            "run.toml:2:15: data.names: holds 3 (integer); each element must be text in quotes");
}

TEST(DocumentErrors, NameAnArrayThatIsTooShort) {
  EXPECT_EQ(complaint("[data]\nimage_size = []"),
            "run.toml:2:14: data.image_size: has 0 elements; must have at least 1");
  EXPECT_EQ(complaint("[data]\nbetas = [0.5]"),
            "run.toml:2:9: data.betas: has 1 elements; must have at least 2");
}

TEST(DocumentErrors, ListTheChoices) {
  EXPECT_EQ(complaint("[train]\nprecision = 'fp16'"),
            "run.toml:2:13: train.precision: is \"fp16\"; must be one of fp32, bf16, fp64 (did you "
            "mean \"fp32\"?)");
  EXPECT_EQ(complaint("[train]\nprecision = 'double'"),
            "run.toml:2:13: train.precision: is \"double\"; must be one of fp32, bf16, fp64");
}

TEST(DocumentErrors, SuggestTheKeyThatWasMeant) {
  EXPECT_EQ(complaint("[train]\nstep = 3"),
            "run.toml:2:1: train.step: unknown key; did you mean train.steps?");
  EXPECT_EQ(complaint("[trian]\nsteps = 3"),
            "run.toml:2:1: trian.steps: unknown key; did you mean train.steps?");
  EXPECT_EQ(complaint("[train]\nbatch = 3"),
            "run.toml:2:1: train.batch: unknown key; did you mean train.batch_size?");
  EXPECT_EQ(complaint("[data]\nprecision = 'fp32'"),
            "run.toml:2:1: data.precision: unknown key; did you mean train.precision?");
}

TEST(DocumentErrors, ListWhatThereIsWhereNothingIsNear) {
  EXPECT_EQ(complaint("[data]\ncolour_jitter_strength = 1"),
            "run.toml:2:1: data.colour_jitter_strength: unknown key; [data] knows path, "
            "image_size, betas, names");
  EXPECT_EQ(complaint("[scheduler]\nwarm = 1"),
            "run.toml:2:1: scheduler.warm: unknown section; the sections are train, data");
  EXPECT_EQ(complaint("[scheduler]"),
            "run.toml:1:2: scheduler: unknown section; the sections are train, data");
}

TEST(DocumentErrors, ReportTheFirstUnknownKeyInFileOrder) {
  EXPECT_EQ(complaint("[train]\nzzzzzzzz = 1\naaaaaaaa = 1\n[data]\nbbbbbbbb = 1")
                .substr(0, std::string("run.toml:2:1: train.zzzzzzzz").size()),
            "run.toml:2:1: train.zzzzzzzz");
}

TEST(DocumentErrors, ExplainAMisplacedSection) {
  EXPECT_EQ(complaint("steps = 3\n[train]"),
            "run.toml:1:1: steps: stands outside any section; put it below a [section] line");
  EXPECT_EQ(complaint("[[train]]\nsteps = 3"),
            "run.toml:1:3: train: is an array of tables; write [train], in single brackets");
  EXPECT_EQ(complaint("[train.inner]\nsteps = 3").substr(0, 38),
            "run.toml:1:8: train.inner: unknown key");
}

TEST(DocumentErrors, LocateWhatIsNotToml) {
  const std::string quotes =
      "; text must stand in quotes, as in path = \"data\"; truth values are true and false";
  const std::string prefix = "not valid TOML: Error while parsing ";
  EXPECT_EQ(complaint("[train]\nsteps = 1\nsteps = 2"),
            "run.toml:3:9: " + prefix + "key-value pair: cannot redefine existing integer 'steps'");
  EXPECT_EQ(complaint("[train]\nsteps = 99999999999999999999"),
            "run.toml:2:29: " + prefix +
                "decimal integer: '99999999999999999999' is not representable in 64 bits");
  EXPECT_EQ(complaint("[data]\npath = cifar"),
            "run.toml:2:8: " + prefix + "value: could not determine value type" + quotes);
  EXPECT_EQ(complaint("[train]\nflip = yes"),
            "run.toml:2:8: " + prefix + "value: could not determine value type" + quotes);
  EXPECT_EQ(complaint("[data]\npath ="),
            "run.toml:2:7: " + prefix + "key-value pair: encountered end-of-file");
  EXPECT_EQ(complaint("[data\npath = 1"),
            "run.toml:1:6: " + prefix + "table header: expected ']', saw '\\n'");
  EXPECT_EQ(complaint("[train]\nlr = \xff"),
            "run.toml:2:5: not valid TOML: Encountered invalid utf-8 sequence");
}

// "[a]" in UTF-16, with and without a mark, of either byte order.
TEST(DocumentErrors, CallUtf16ByItsName) {
  const auto text = [](const char* bytes, size_t size) { return std::string(bytes, size); };
  for (const std::string& utf16 : {text("\xff\xfe[\0a\0]\0", 8), text("\xfe\xff\0[\0a\0]", 8),
                                   text("[\0a\0]\0", 6), text("\0[\0a\0]", 6)}) {
    EXPECT_EQ(complaint(utf16), "run.toml: is UTF-16 text; save it as UTF-8");
  }
}

TEST(DocumentErrors, StayOnOneLine) {
  for (const std::string text :
       {"[train]\nsteps = \"a\\nb\"", "[train]\nsteps = '''a\nb'''",
        "[train]\nprecision = \"a\\nb\"", "[train]\nsteps = [1,\n2,\n3]", "[train]\n\"a\\nb\" = 1",
        "[\"a\\nb\"]\nx = 1", "\"a\\nb\" = 1", "[[\"a\\nb\"]]", "[train]\nflip = \"a\\rb\""}) {
    const std::string message = complaint(text);
    EXPECT_NE(message, "") << text;
    EXPECT_EQ(message.find_first_of("\n\r"), std::string::npos) << message;
  }
  EXPECT_EQ(complaint("", {"train.steps=1\nb=2"}), "--set train.steps=1 b=2: must hold one value");
}

TEST(DocumentErrors, SpanKeysThroughFailAndWhere) {
  Document d = Document::parse("[a]\nx = 7\n", "run.toml");
  d.set("a.y=2");
  const Reader a = d.section("a");
  EXPECT_EQ(to_string(a.where("x")), "run.toml:2:5");
  EXPECT_EQ(to_string(a.where("y")), "--set a.y=2");
  EXPECT_EQ(to_string(a.where("z")), "run.toml");
  try {
    a.fail("x", "is odd");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "run.toml:2:5: a.x: is odd");
  }
}

// --- Files ---

TEST(DocumentFile, IsNamedInErrors) {
  std::string message;
  const std::string path = with_file("[train]\nsteps = x1\n", [&](const std::string& file) {
    try {
      Document::load(file);
    } catch (const ConfigError& error) {
      message = error.what();
    }
  });
  EXPECT_EQ(message.substr(0, path.size() + 5), path + ":2:9:");
}

TEST(DocumentFile, ReadsTheSameAsText) {
  with_file("[train]\nsteps = 12\n", [](const std::string& file) {
    Document d = Document::load(file);
    EXPECT_EQ(d.section("train").integer("steps", 0, kAnyInteger), 12);
  });
}

TEST(DocumentFile, ThatIsMissingOrAFolderIsAnIoError) {
  try {
    Document::load("/nowhere/run.toml");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(),
                 "/nowhere/run.toml: cannot be opened; give the path of a .toml config file (see "
                 "configs/)");
  }
  EXPECT_THROW(Document::load(testing::TempDir()), IoError);
}

// --- --set ---

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
