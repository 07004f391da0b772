#include "src/data/labels.h"

#include "ddpm/base/error.h"
#include "src/data/natural_order.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

namespace ddpm::data {
namespace {

using fixtures::message_of;
using Names = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

// The labels of `names` in a source that holds these files beside them.
ImageLabels read(const std::string& how, const Names& names,
                 const std::map<std::string, std::string>& files = {}) {
  const auto find = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = files.find(name);
    return found == files.end() ? std::nullopt : std::optional(found->second);
  };
  return read_labels(how, names, {"root", find});
}

std::string error(const std::string& how, const Names& names,
                  const std::map<std::string, std::string>& files = {}) {
  return message_of<IoError>([&] { read(how, names, files); });
}

TEST(NaturalLess, CountsAsPeopleDo) {
  Names names{"b", "10", "a10b", "2", "a2", "01", "1", "a", "", "a10a", "B", "a02", "9a"};
  std::sort(names.begin(), names.end(), natural_less);
  EXPECT_EQ(names,
            (Names{"", "01", "1", "2", "9a", "10", "B", "a", "a02", "a2", "a10a", "a10b", "b"}));
  EXPECT_TRUE(natural_less("9", "123456789012345678901234567890"));
  for (const std::string& name : names) EXPECT_FALSE(natural_less(name, name));
}

TEST(LabelsFromFolders, AreTheFirstLevel) {
  const ImageLabels labels = labels_from_folders({"cat/1.png", "cat/x/2.png", "dog/1.png"});
  EXPECT_EQ(labels.classes, (Names{"cat", "dog"}));
  EXPECT_EQ(labels.labels, (Numbers{0, 0, 1}));
}

TEST(LabelsFromFolders, CountInNaturalOrder) {
  const ImageLabels labels = labels_from_folders({"1/a.png", "10/a.png", "2/a.png"});
  EXPECT_EQ(labels.classes, (Names{"1", "2", "10"}));
  EXPECT_EQ(labels.labels, (Numbers{0, 2, 1}));
}

TEST(LabelsFromFolders, AreNoneIfAnImageLiesInNoFolder) {
  EXPECT_TRUE(labels_from_folders({"cat/1.png", "x.png"}).classes.empty());
  EXPECT_TRUE(labels_from_folders({"cat/1.png", "x.png"}).labels.empty());
  EXPECT_TRUE(labels_from_folders({}).labels.empty());
  EXPECT_EQ(read("auto", {"cat/1.png", "x.png"}).remark,
            "the folders are no classes, as x.png lies in none of them; move it into one to have "
            "classes");
  EXPECT_CONTAINS(error("folders", {"cat/1.png", "x.png"}),
                  "root/x.png: lies in no folder, but data.labels = \"folders\"");
}

TEST(LabelsFromFolders, PassOverAFolderAroundEverything) {
  EXPECT_EQ(labels_from_folders({"train/a/1.png", "train/b/1.png"}).classes, (Names{"a", "b"}));
  EXPECT_EQ(labels_from_folders({"celeba/1.png", "celeba/2.png"}).classes, (Names{"celeba"}));
}

// What EDM's and StyleGAN's dataset_tool.py write: folders of a thousand images, labels beside.
TEST(ReadLabels, TakesDatasetJsonAndNotTheChunks) {
  const Names names{"00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png"};
  const std::string json =
      R"({"labels": [["00000/img00000000.png", 2], ["00000/img00000001.png", 0],
                     ["00001/img00001000.png", 2], ["00001/img00001001.png", 5]]})";
  const ImageLabels labels = read("auto", names, {{"dataset.json", json}});
  EXPECT_EQ(labels.labels, (Numbers{2, 0, 2}));
  EXPECT_EQ(labels.classes, (Names{"0", "1", "2"}));
  for (const char* none : {R"({"labels": null})", R"({"labels": []})"})
    EXPECT_TRUE(read("auto", names, {{"dataset.json", none}}).labels.empty());
  EXPECT_TRUE(read("none", names, {{"dataset.json", json}}).labels.empty());
  EXPECT_EQ(read("folders", names, {{"dataset.json", json}}).classes, (Names{"00000", "00001"}));
  const ImageLabels without = read("auto", names);
  EXPECT_TRUE(without.classes.empty());
  EXPECT_EQ(without.remark,
            "the folders are the chunks of a dataset tool, no classes (no dataset.json)");
}

TEST(ReadLabels, ADatasetJsonOfAnotherKindIsSaidAndPassedOver) {
  const ImageLabels labels =
      read("auto", {"cat/1.png", "dog/1.png"}, {{"dataset.json", R"({"name": "pets"})"}});
  EXPECT_EQ(labels.classes, (Names{"cat", "dog"}));
  EXPECT_CONTAINS(labels.remark, "dataset.json is not used for classes");
}

TEST(ReadLabels, RefusesADatasetJsonByName) {
  const Names names{"a.png"};
  const auto of = [&](const std::string& json) {
    return error("auto", names, {{"dataset.json", json}});
  };
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", [0.5, 1, 0]]]})"),
                  "root/dataset.json: a.png: the label holds 3 values; a network learns one class "
                  "per image");
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", 0.5]]})"), "the label is 0.5, neither text nor");
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", -1]]})"), "the label \"-1\" is no integer from 0");
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", 123456789012]]})"), "beyond a million classes");
  EXPECT_CONTAINS(of(R"({"labels": {"a.png": 1}})"), "\"labels\" is no list");
  EXPECT_CONTAINS(of(R"({"labels": [["b.png", 1]]})"), "has no label for the image a.png");
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", 1])"), "is no JSON object; is it damaged?");
  EXPECT_CONTAINS(of(R"({"labels": [["a.png", 1], ["a.png", 2]]})"),
                  "a.png is of the classes 1 and 2");
}

// improved-diffusion: the class is what comes before the first underscore.
TEST(ReadLabels, TakesPrefixesOfFileNames) {
  const ImageLabels labels = read("prefix", {"dog_1.png", "x/cat_10_3.png", "y_z/dog_2.png"});
  EXPECT_EQ(labels.classes, (Names{"cat", "dog"}));
  EXPECT_EQ(labels.labels, (Numbers{1, 0, 1}));
  EXPECT_CONTAINS(error("prefix", {"dog_1.png", "cat.png"}),
                  "root/cat.png: has no class before a \"_\" in its name");
  EXPECT_CONTAINS(error("prefix", {"_1.png"}), "root/_1.png: has no class");
}

TEST(ReadLabels, TakesATable) {
  const Names names{"a.png", "b/b.png", "c.png"};
  for (const char* text : {
           "file_name,label\na.png,dog\nb/b.png,cat\nc.png,dog\n",
           "a.png,dog\nb/b.png,cat\nc.png,dog",
           "\xEF\xBB\xBF"
           "Class;id;Filename\r\ndog;1;a.png\r\ncat;2;b/b.png\r\ndog;3;c.png\r\n",
           "path\tlabel\n./a.png\tdog\nb\\b.png\tcat\nc.png\tdog\n",
           "image,label\n\"a.png\",\"dog\"\n\"b/b.png\",cat\nc.png,dog\nd.png,bird\n",
           "label,image\ndog,a.png\ncat,b.png\ndog,c.png\n",  // b.png: without its folder
       }) {
    const ImageLabels labels = read("my.csv", names, {{"my.csv", text}});
    EXPECT_EQ(labels.classes, (Names{"cat", "dog"})) << text;
    EXPECT_EQ(labels.labels, (Numbers{1, 0, 1})) << text;
  }
  EXPECT_EQ(read("my.csv", {"a.png"}, {{"my.csv", "a.png,\"a, \"\"b\"\"\nc\""}}).classes,
            (Names{"a, \"b\"\nc"}));
  const ImageLabels numbers = read("my.csv", names, {{"my.csv", "a.png,10\nb/b.png,2\nc.png,2"}});
  EXPECT_EQ(numbers.classes, (Names{"2", "10"}));
}

TEST(ReadLabels, RefusesATableByName) {
  const auto of = [&](const std::string& text) {
    return error("sub/my.csv", {"a.png"}, {{"sub/my.csv", text}});
  };
  EXPECT_CONTAINS(of("a.png,1,2"),
                  "root/sub/my.csv: has the columns a.png, 1, 2; name two of them");
  EXPECT_CONTAINS(of("a.png,"), "row 1 has no file name or no label");
  EXPECT_CONTAINS(of(""), "holds no lines");
  EXPECT_CONTAINS(of("b.png,1"), "has no label for the image a.png");
  EXPECT_CONTAINS(error("other.csv", {"a.png"}),
                  "other.csv: no such file, neither here nor in root; set data.labels to auto");
  EXPECT_CONTAINS(error("my.xls", {"a.png"}, {{"my.xls", ""}}),
                  "is no list of labels by its ending");
}

TEST(ReadLabels, TakesAListFromTheDisk) {
  const TemporaryFolder folder;
  fixtures::write(folder / "my.csv", fixtures::from_text("a.png,dog\n"));
  EXPECT_EQ(read((folder / "my.csv").string(), {"a.png"}).classes, (Names{"dog"}));
}

// The metadata.jsonl of an image folder, as datasets on hubs have it.
TEST(ReadLabels, TakesLinesOfJson) {
  const Names names{"a.png", "b.png"};
  const ImageLabels labels =
      read("metadata.jsonl", names,
           {{"metadata.jsonl",
             "{\"file_name\": \"a.png\", \"label\": \"dog\"}\n\n"
             "{\"file_name\": \"b.png\", \"text\": \"x\", \"label\": \"cat\"}\n"}});
  EXPECT_EQ(labels.classes, (Names{"cat", "dog"}));
  EXPECT_EQ(labels.labels, (Numbers{1, 0}));
  const auto of = [&](const std::string& line) {
    return error("m.jsonl", {"a.png"}, {{"m.jsonl", "\n" + line}});
  };
  EXPECT_CONTAINS(of("{\"file_name\": \"a.png\"}"), "root/m.jsonl: line 2 has no file_name or no");
  EXPECT_CONTAINS(of("{\"file_name\": \"a.png\", \"label\": [1, 2]}"),
                  "line 2: the label holds 2 values");
  EXPECT_CONTAINS(of("[1]"), "line 2 is no JSON object");
}

}  // namespace
}  // namespace ddpm::data
