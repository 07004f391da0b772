#include "ddpm/report/report.h"

#include "ddpm/io/file.h"
#include "tests/cli/fixture.h"

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

class ReportCommand : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (!report::has_charts()) GTEST_SKIP() << "built without libjs-chart.js";
  }
  nlohmann::json data_of(const fs::path& page) {
    const std::string html = io::read_text(folder_ / page);
    const std::string begin = "id=\"data\">";
    const size_t first = html.find(begin) + begin.size();
    return nlohmann::json::parse(html.substr(first, html.find("</script>", first) - first));
  }
};

TEST_F(ReportCommand, TrainingLeavesAPageThatTheCommandRenews) {
  train("runs/tiny", {"--set", "train.sample_every=6", "--set", "train.sample_count=4"});
  const nlohmann::json run = data_of("runs/tiny/report.html").at("runs").at(0);
  EXPECT_EQ(run.at("metrics").at("step"), (std::vector<double>{3, 6, 9, 12}));
  EXPECT_EQ(run.at("samples").size(), 2u);
  EXPECT_EQ(run.at("samples").at(0).at("pictures").size(), 3u) << "raw, ema, ema-2";
  EXPECT_EQ(run.at("events").back().at("kind"), "end");
  EXPECT_EQ(run.at("schedule").at("t").size(), 20u);
  fs::remove(folder_ / "runs/tiny/report.html");
  const ProgramResult result = run_program(folder_.path(), {"report", "runs/tiny"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "runs/tiny/report.html\n");
  EXPECT_EQ(data_of("runs/tiny/report.html").at("runs").at(0), run);
}

TEST_F(ReportCommand, ClassNamesAreTexts) {
  for (const char* name : {"<script>alert(1)<!--", "b"}) {
    fs::create_directories(folder_ / "images" / name);
    for (int i = 0; i < 4; ++i)
      io::write_file_synced(folder_ / "images" / name / (std::to_string(i) + ".pgm"),
                            "P5 8 8 255\n" + std::string(64, static_cast<char>(40 * i)));
  }
  train("runs/names", {"--set", "data.kind=folder", "--set", "data.path=images", "--set",
                       "data.holdout=0", "--set", "train.steps=2", "--set", "train.batch_size=4",
                       "--set", "model.class_conditional=true"});
  const std::string html = io::read_text(folder_ / "runs/names/report.html");
  EXPECT_EQ(html.find("<script>alert"), std::string::npos);
  EXPECT_NE(data_of("runs/names/report.html").dump().find("<script>alert(1)"), std::string::npos);
}

TEST_F(ReportCommand, AKeySaysWhenItIsMade) {
  train("runs/never", {"--set", "train.report=never"});
  EXPECT_FALSE(fs::exists(folder_ / "runs/never/report.html"));
  train("runs/often", {"--set", "train.report=checkpoints"});
  EXPECT_TRUE(fs::exists(folder_ / "runs/often/report.html"));
  expect_same_tensors(checkpoint("runs/never", 12), checkpoint("runs/often", 12));
}

TEST_F(ReportCommand, MistakesAreNamed) {
  train("runs/tiny");
  expect_error({"report", "none"}, 1, "none: does not exist");
  fs::create_directory(folder_ / "empty");
  expect_error({"report", "runs/tiny", "empty"}, 1, "empty: is no run");
  expect_error({"report", "runs/tiny", "--out", "none/page.html"}, 1, "none");
  expect_error({"report"}, 2, "runs");
}

}  // namespace
}  // namespace ddpm
