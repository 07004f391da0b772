#include "tests/config/document_fixture.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

namespace ddpm::config {
namespace {

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

}  // namespace
}  // namespace ddpm::config
