#include "ddpm/report/report.h"

#include "ddpm/base/error.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"

#include <cmath>
#include <regex>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// What a text must not become.
const std::string kAttack = "</script><script>alert(1)</script><!-- <img onerror=x> & '";

/// A run's folder of texts alone.
class Report : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_charts()) GTEST_SKIP() << "built without libjs-chart.js";
    fs::create_directory(run());
    write("config.toml",
          "[data]\npath = \"" + kAttack + "\"\n[diffusion]\nschedule = \"cosine\"\n");
    write("metrics.jsonl", "{\"step\":1,\"loss\":0.5}\n{\"step\":\n{\"step\":2,\"loss\":0.25}\n");
    write("log.txt", "[2026-01-31 12:00:00] warning step 2: " + kAttack + "\n");
  }
  fs::path run() const { return folder_ / "a<b>&c"; }
  void write(const std::string& name, const std::string& text) {
    io::write_file_synced(run() / name, std::string_view(text));
  }
  /// The JSON in the page.
  static Json data_of(const std::string& html) {
    static const std::string begin = "<script type=\"application/json\" id=\"data\">";
    const size_t first = html.find(begin) + begin.size();
    return Json::parse(html.substr(first, html.find("</script>", first) - first));
  }
  TemporaryFolder folder_;
};

TEST_F(Report, HoldsWhatTheRunRecorded) {
  const Page page = page_of({run()});
  const Json data = data_of(page.html), shown = data.at("runs").at(0);
  EXPECT_EQ(shown.at("metrics").at("loss"), Json({0.5, 0.25}));
  EXPECT_EQ(shown.at("config").at(0), Json::array({"data.path", "\"" + kAttack + "\""}));
  EXPECT_EQ(shown.at("events").at(0).at("text"), "step 2: " + kAttack);
  ASSERT_EQ(page.warnings.size(), 1u);
  EXPECT_NE(page.warnings[0].find("1 damaged line passed over, the first is line 2"),
            std::string::npos);
  EXPECT_EQ(data.at("warnings").size(), 1u);
  EXPECT_NE(page.html.find("Chart.js v"), std::string::npos) << "its notice";
  EXPECT_NE(page.html.find("Permission is hereby granted"), std::string::npos);
}

// Nichol 2021, Eq. 17: alpha_bar = f(t)/f(0), f(t) = cos^2((t/T + s)/(1 + s) pi/2).
TEST_F(Report, ShowsTheScheduleOfTheConfig) {
  const Json schedule = data_of(page_of({run()}).html).at("runs").at(0).at("schedule");
  const auto f = [](double u) {
    const double c = std::cos((u + 0.008) / 1.008 * M_PI / 2);
    return c * c;
  };
  ASSERT_EQ(schedule.at("t").size(), 200u);
  EXPECT_EQ(schedule.at("t").at(0), 1);
  EXPECT_EQ(schedule.at("t").at(199), 1000);
  for (const size_t i : {0, 50, 150}) {
    const double expected = f(schedule.at("t").at(i).get<double>() / 1000) / f(0);
    EXPECT_NEAR(schedule.at("alpha_bar").at(i).get<double>(), expected, 1e-9);
    EXPECT_NEAR(schedule.at("snr").at(i).get<double>(), expected / (1 - expected),
                1e-6 * expected / (1 - expected));
  }
}

TEST_F(Report, ATextOfAUserIsNeverHtml) {
  const std::string html = page_of({run()}).html;
  EXPECT_EQ(html.find("<script>alert"), std::string::npos);
  EXPECT_EQ(html.find("<img onerror"), std::string::npos);
  EXPECT_EQ(html.find("a<b>&c"), std::string::npos);
  EXPECT_NE(html.find("a&#60;b&#62;&#38;c</title>"), std::string::npos);
  // The page's own elements alone: what the data holds ends none of them.
  const std::regex script("<script[ >]");
  EXPECT_EQ(std::distance(std::sregex_iterator(html.begin(), html.end(), script), {}), 4);
}

TEST_F(Report, LoadsNothing) {
  const std::string html = page_of({run()}).html;
  for (const char* loads : {"<link", "<iframe", "@import", "src=\"http", "url(http", "fetch("})
    EXPECT_EQ(html.find(loads), std::string::npos) << loads;
  EXPECT_NE(html.find("default-src 'none'; img-src data:"), std::string::npos);
}

TEST_F(Report, SeveralRunsStandSideBySide) {
  fs::create_directory(folder_ / "b");
  io::write_file_synced(folder_ / "b/config.toml", std::string_view("[train]\nsteps = 2\n"));
  const fs::path file = folder_ / "out.html";
  write_report({run(), folder_ / "b"}, file);
  const Json data = data_of(io::read_text(file));
  ASSERT_EQ(data.at("runs").size(), 2u);
  EXPECT_EQ(data.at("runs").at(1).at("name"), (folder_ / "b").string());
  EXPECT_EQ(data.at("runs").at(1).at("metrics"), Json::object());
}

TEST_F(Report, DamagedFilesAreLeftOutWithAWarning) {
  write("quality.jsonl", "{\"step\":5,\"frechet\":2.5,\"frechet_error\":0.1}\nx\n");
  fs::create_directories(run() / "generated/sweep-1");
  write("generated/sweep-1/sweep.json", "{\"cells\":[{\"method\":1");
  fs::create_directories(run() / "checkpoints/step-000000002");
  write("checkpoints/step-000000002/MANIFEST", "damaged");
  const Page page = page_of({run()});
  EXPECT_EQ(page.warnings.size(), 4u);
  EXPECT_EQ(data_of(page.html).at("runs").at(0).at("quality").size(), 1u);
}

TEST_F(Report, HoldsSweepsAndDistances) {
  write("quality.jsonl", "{\"step\":5,\"frechet\":2.5,\"frechet_error\":0.1,\"best\":true}\n");
  fs::create_directories(run() / "generated/sweep-1");
  write("generated/sweep-1/sweep.json",
        R"({"cells":[{"method":"ddim","steps":10,"frechet":20.5,"frechet_error":0.5,)"
        R"("seconds_per_image":0.1,"settings":""}]})");
  const Json shown = data_of(page_of({run()}).html).at("runs").at(0);
  EXPECT_EQ(shown.at("quality").at(0).at("frechet"), 2.5);
  EXPECT_EQ(shown.at("sweeps").at(0).at("name"), "sweep-1");
  EXPECT_EQ(shown.at("sweeps").at(0).at("cells").at(0).at("method"), "ddim");
  EXPECT_EQ(shown.at("sweeps").at(0).at("cells").at(0).at("frechet"), 20.5);
}

TEST_F(Report, ReplacesAReportAndNoOtherFile) {
  const fs::path file = folder_ / "out.html";
  write_report({run()}, file);
  write_report({run()}, file);
  io::write_file_synced(folder_ / "mine.html", std::string_view("<!DOCTYPE html>mine"));
  EXPECT_THROW(write_report({run()}, folder_ / "mine.html"), IoError);
  EXPECT_EQ(io::read_text(folder_ / "mine.html"), "<!DOCTYPE html>mine");
}

TEST_F(Report, AFolderThatIsNoRunIsNamed) {
  EXPECT_THROW(page_of({folder_ / "none"}), IoError);
  fs::create_directory(folder_ / "empty");
  EXPECT_THROW(write_report({run(), folder_ / "empty"}, folder_ / "out.html"), IoError);
  EXPECT_FALSE(fs::exists(folder_ / "out.html"));
}

}  // namespace
}  // namespace ddpm::report
