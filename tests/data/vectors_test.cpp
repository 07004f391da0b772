#include "ddpm/data/vectors.h"

#include "ddpm/base/error.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/epoch_sampler.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/loader.h"
#include "ddpm/data/view.h"
#include "ddpm/io/npy.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <limits>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data::vectors_test {
namespace {

using fixtures::message_of;
using Names = std::vector<std::string>;

torch::Tensor table_of(const std::vector<std::vector<float>>& rows) {
  std::vector<torch::Tensor> stacked;
  for (const auto& row : rows) stacked.push_back(torch::tensor(row, torch::kFloat));
  return torch::stack(stacked);
}

class VectorFiles : public testing::Test {
 protected:
  VectorTable read(const std::string& name, const std::string& text) {
    fixtures::write(folder_ / name, fixtures::from_text(text));
    return read_vector_table(folder_ / name);
  }
  std::string refusal(const std::string& name, const std::string& text) {
    return message_of<IoError>([&] { read(name, text); });
  }
  std::string array_refusal(const torch::Tensor& array) {
    fixtures::write(folder_ / "x.npy", io::encode_npy(array));
    return message_of<IoError>([&] { read_vector_table(folder_ / "x.npy"); });
  }
  // Images a.pgm, sub/b.pgm and c.pgm; "vectors": their file.
  std::unique_ptr<Dataset> open(const std::string& name, const std::string& text) {
    int value = 0;
    for (const char* file : {"a.pgm", "sub/b.pgm", "c.pgm"})
      fixtures::write(folder_ / "images" / file, fixtures::flat_pnm(8, 8, 1, ++value));
    fixtures::write(folder_ / name, fixtures::from_text(text));
    DataConfig config;
    config.path = folder_ / "images";
    config.vectors = folder_ / name;
    return open_dataset(config, 0);
  }
  std::string open_refusal(const std::string& text) {
    return message_of<IoError>([&] { open("v.csv", text); });
  }

  TemporaryFolder folder_;
};

TEST_F(VectorFiles, ATextNamesItsColumnsAndItsImages) {
  const torch::Tensor expected = table_of({{1, -0.5}, {0, 1e-3F}});
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"a.csv", "file_name,smiling,age\na.png,1,-0.5\nsub/b.png,+0,1e-3\n"},
           {"b.csv", "\xEF\xBB\xBFwhich;smiling;age\r\na.png; 1;-0.5\r\n\r\n\"sub/b.png\";0;0.001"},
           {"c.tsv", "image\tsmiling\tage\na.png\t1\t-0.5\nsub/b.png\t0\t.001\n"},
           {"d.txt", "2\nsmiling age\na.png   1 -0.5\nsub/b.png 0  0.001\n"},  // CelebA's
           {"e.txt", "smiling age\na.png 1 -0.5\nsub/b.png 0 0.001\n"}}) {
    const VectorTable table = read(name, text);
    EXPECT_EQ(table.columns, (Names{"smiling", "age"})) << name;
    EXPECT_EQ(table.files, (Names{"a.png", "sub/b.png"})) << name;
    EXPECT_TRUE(table.rows.equal(expected)) << name << "\n" << table.rows;
  }
  const VectorTable numbered = read("f.csv", "id,age\n7,3\n8,4\n");
  EXPECT_EQ(numbered.files, (Names{"7", "8"})) << "by the column's name";
  EXPECT_EQ(read("g.csv", "\"a, b\",\"c \"\"d\"\"\"\n1,2\n").columns, (Names{"a, b", "c \"d\""}));
}

TEST_F(VectorFiles, ATextWithoutFileNamesGoesByOrder) {
  const VectorTable table = read("a.csv", "smiling,age\n1,2\n3,4\n5,6\n");
  EXPECT_TRUE(table.files.empty());
  EXPECT_TRUE(table.rows.equal(table_of({{1, 2}, {3, 4}, {5, 6}})));
  EXPECT_EQ(read("b.csv", "brightness\n0.5\n").columns, (Names{"brightness"}));
}

TEST_F(VectorFiles, AnArrayGoesByOrder) {
  const torch::Tensor rows = table_of({{1, 0.25}, {-3, 4}, {0, 7}});
  fixtures::write(folder_ / "a.npy", io::encode_npy(rows));
  const VectorTable table = read_vector_table(folder_ / "a.npy");
  EXPECT_TRUE(table.rows.equal(rows));
  EXPECT_EQ(table.columns, (Names{"0", "1"}));
  fixtures::write(folder_ / "b.npy", io::encode_npy(torch::arange(5).to(torch::kByte)));
  EXPECT_TRUE(read_vector_table(folder_ / "b.npy")
                  .rows.equal(torch::arange(5, torch::kFloat).unsqueeze(1)));
  fixtures::write_zip(folder_ / "c.npz", {{"images.npy", io::encode_npy(torch::zeros({3}))},
                                          {"vectors.npy", io::encode_npy(rows)}});
  EXPECT_TRUE(read_vector_table(folder_ / "c.npz").rows.equal(rows));
  fixtures::write_zip(folder_ / "d.npz", {{"attributes.npy", io::encode_npy(rows)}});
  EXPECT_TRUE(read_vector_table(folder_ / "d.npz").rows.equal(rows));
}

TEST_F(VectorFiles, SayWhichLineAndColumnIsWrong) {
  EXPECT_CONTAINS(refusal("v.csv", "file,smiling,age\na.png,1,2\nb.png,1,old\n"),
                  "v.csv: line 3, column age: \"old\" is no number; write a finite number");
  for (const char* value : {"nan", "inf", "-inf", "1e999", "1e39"})
    EXPECT_CONTAINS(refusal("v.csv", std::string("file,age\na.png,") + value + "\n"),
                    "line 2, column age: \"");
  EXPECT_CONTAINS(refusal("v.csv", "file,age\na.png,nan\n"), "is not finite");
  EXPECT_CONTAINS(refusal("v.csv", "file,a,b\nx.png,1,2\n\ny.png,3\n"),
                  "line 4 has 2 cells, and 3 are expected: a file name and 2 numbers");
  EXPECT_CONTAINS(refusal("v.csv", "file,a\nx.png,\n"), "line 2, column a: \"\" is no number");
  EXPECT_CONTAINS(refusal("v.csv", "1,2\n3,4\n"), "line 1 holds numbers; the first line must name");
  EXPECT_CONTAINS(refusal("v.csv", "file,a,a\nx.png,1,2\n"), "line 1 names the column a twice");
  EXPECT_CONTAINS(refusal("v.csv", "file,a,\nx.png,1,2\n"), "line 1 has a column without a name");
  EXPECT_CONTAINS(refusal("v.csv", "file\nx.png\n"), "line 1 names no column of numbers");
  EXPECT_CONTAINS(refusal("v.csv", "file,a\n"), "holds no rows");
  EXPECT_CONTAINS(refusal("v.csv", ""), "holds no rows");
  EXPECT_CONTAINS(refusal("v.txt", "3\na b\nx.png 1 2\ny.png 1 2\n"),
                  "line 1 says 3 rows, but there are 2");
  EXPECT_CONTAINS(refusal("v.json", "{}"), "use .csv, .tsv, .txt, .npy or .npz");
  EXPECT_CONTAINS(message_of<IoError>([&] { read_vector_table(folder_ / "none.csv"); }),
                  "none.csv: does not exist");
}

TEST_F(VectorFiles, SayWhatIsWrongWithAnArray) {
  EXPECT_CONTAINS(array_refusal(torch::zeros({2, 3, 4})), "holds Float of shape [2,3,4]");
  EXPECT_CONTAINS(array_refusal(torch::zeros({0, 3})), "shape [0,3]");
  EXPECT_CONTAINS(array_refusal(torch::zeros({2, 1025})), "holds 1025 numbers per image; at most");
  torch::Tensor wrong = torch::zeros({3, 2});
  wrong[2][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_CONTAINS(array_refusal(wrong), "row 2, column 1 (both from 0) is nan");
  fixtures::write_zip(folder_ / "d.npz",
                      {{"a.npy", io::encode_npy(wrong)}, {"b.npy", io::encode_npy(wrong)}});
  EXPECT_CONTAINS(message_of<IoError>([&] { read_vector_table(folder_ / "d.npz"); }),
                  "holds a.npy, b.npy; name the array of vectors \"vectors\"");
}

TEST_F(VectorFiles, AreFoundByTheImagesNames) {
  // Image order: a.pgm, c.pgm, sub/b.pgm.
  const auto images = open("v.csv", "file,x,y\nb.pgm,5,6\nother.pgm,7,8\na.pgm,1,2\n./c.pgm,3,4\n");
  ASSERT_EQ(images->image_names(), (Names{"a.pgm", "c.pgm", "sub/b.pgm"}));
  EXPECT_TRUE(images->vectors().equal(table_of({{1, 2}, {3, 4}, {5, 6}})));
  EXPECT_EQ(images->vector_names(), (Names{"x", "y"}));
  EXPECT_CONTAINS(images->description(), "; a vector of 2 numbers per image");
  EXPECT_EQ(images->get(1).image.max().item<int>(), 3) << "c.pgm";
}

TEST_F(VectorFiles, AFileInTheFolderOfTheImagesIsFoundThere) {
  open("v.csv", "file,x\na.pgm,1\nc.pgm,2\nsub/b.pgm,3\n");
  fixtures::write(folder_ / "images/own.csv", fixtures::from_text("x\n1\n2\n3\n"));
  DataConfig config;
  config.path = folder_ / "images";
  config.vectors = "own.csv";
  EXPECT_TRUE(open_dataset(config, 0)->vectors().equal(table_of({{1}, {2}, {3}})));
  config.vectors.clear();
  EXPECT_FALSE(open_dataset(config, 0)->vectors().defined());
}

TEST_F(VectorFiles, SayWhichImageHasNoVectorOrTwo) {
  EXPECT_CONTAINS(open_refusal("file,x\na.pgm,1\nc.pgm,2\n"),
                  "v.csv: has no row for the image sub/b.pgm; add it, or remove the image");
  EXPECT_CONTAINS(open_refusal("file,x\na.pgm,1\nb.pgm,2\nc.pgm,2\na.pgm,3\n"),
                  "lines 2 and 5 both name a.pgm; keep one row per image");
  EXPECT_CONTAINS(open_refusal("file,x\na.pgm,1\nc.pgm,2\n1/b.pgm,3\n2/b.pgm,4\n"),
                  "has no row for the image sub/b.pgm")
      << "which b.pgm is not known";
  EXPECT_CONTAINS(open_refusal("x\n1\n2\n"),
                  "holds 2 vectors, but the data has 3 images; write one row per image");
}

// Images without files go by order, or by their numbers.
TEST_F(VectorFiles, ProceduralImagesAreCalledByTheirNumbers) {
  DataConfig config;
  config.kind = "procedural";
  config.size = 3;
  config.image_size = ImageSize{8, 8};
  config.vectors = folder_ / "v.csv";
  fixtures::write(config.vectors, fixtures::from_text("id,x\n2,30\n0,10\n1,20\n"));
  EXPECT_TRUE(open_dataset(config, 0)->vectors().equal(table_of({{10}, {20}, {30}})));
}

// Image i has label i mod 8 and vector (i, -2 i).
class WithVectors : public testing::Test {
 protected:
  static constexpr int64_t kCount = 23;

  WithVectors() {
    const torch::Tensor i = torch::arange(kCount, torch::kFloat);
    write(torch::stack({i, -2 * i}, 1));
  }
  void write(const torch::Tensor& rows) {
    fixtures::write(folder_ / "v.npy", io::encode_npy(rows));
  }
  std::shared_ptr<const Dataset> open(bool vectors = true) {
    DataConfig config;
    config.kind = "procedural";
    config.size = kCount;
    config.image_size = ImageSize{8, 8};
    if (vectors) config.vectors = folder_ / "v.npy";
    return open_dataset(config, 3);
  }
  TemporaryFolder folder_;
};

void expect_of_images(const torch::Tensor& vectors, const std::vector<int64_t>& images) {
  const torch::Tensor i = torch::tensor(images).to(torch::kFloat);
  EXPECT_TRUE(vectors.equal(torch::stack({i, -2 * i}, 1))) << vectors << i;
}

TEST_F(WithVectors, BothLoadersGiveEachSampleItsOwn) {
  const auto images = open();
  const EpochSampler order(kCount, 9);
  for (const bool changed : {false, true}) {
    const LoaderOptions options{.batch_size = 6,
                                .global_batch = 10,
                                .first = 2,
                                .seed = 9,
                                .workers = 3,
                                .flip = changed,
                                .cache_bytes = changed ? 1 << 20 : 0};
    Loader loader(*images, options);
    ResidentLoader resident(*images, options, torch::kCPU);
    for (const int64_t start : {0, 5}) {
      loader.seek(start);
      resident.seek(start);
      for (int64_t k = start; k < start + 6; ++k) {
        std::vector<int64_t> expected;
        for (int64_t i = 0; i < 6; ++i) expected.push_back(order.index_of(10 * k + 2 + i));
        expect_of_images(loader.next().vectors, expected);
        expect_of_images(resident.next().vectors, expected);
      }
    }
  }
}

TEST_F(WithVectors, PartsKeepThem) {
  const auto images = open();
  const Split split = hold_out(images, 5, 4);
  const auto held = std::dynamic_pointer_cast<const Subset>(split.held_out);
  expect_of_images(held->vectors(), held->indices());
  const auto part = relabelled(split.training, {0, 1, 2, 3, 4, 5, 6, 7}, {8, {}});
  const auto training = std::dynamic_pointer_cast<const Subset>(split.training);
  expect_of_images(part->vectors(), training->indices());
  const std::vector<int64_t> chosen{4, 0, 3};
  expect_of_images(read_batch(*held, chosen).vectors,
                   {held->indices()[4], held->indices()[0], held->indices()[3]});
  EXPECT_EQ(part->vector_names(), (Names{"0", "1"}));
}

TEST_F(WithVectors, DataWithoutThemIsAsBefore) {
  const auto plain = open(false), with = open();
  EXPECT_FALSE(plain->vectors().defined());
  EXPECT_FALSE(Loader(*plain, {.batch_size = 4}).next().vectors.defined());
  const std::vector<int64_t> first{0, 1};
  EXPECT_FALSE(read_batch(*plain, first).vectors.defined());
  Loader a(*plain, {.batch_size = 8}), b(*with, {.batch_size = 8});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(a.next().images.equal(b.next().images));
}

TEST_F(WithVectors, ArePartOfWhatIdentifiesTheData) {
  const std::string print = open()->fingerprint(), identity = identity_of(*open());
  EXPECT_EQ(open()->fingerprint(), print);
  EXPECT_NE(open(false)->fingerprint(), print);
  torch::Tensor other = open()->vectors().clone();
  other[22][1] += 1;
  write(other);
  EXPECT_NE(open()->fingerprint(), print);
  EXPECT_NE(identity_of(*open()), identity);
}

}  // namespace
}  // namespace ddpm::data::vectors_test
