#include "src/report/run_config.h"

#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::report {
namespace {

using Json = nlohmann::ordered_json;

TEST(RunConfig, SettingsAreKeysOfSections) {
  const auto settings = settings_of("# a comment\n[run]\nseed = 3\n\n[data]\npath = \"a = [b]\"\n");
  ASSERT_EQ(settings.size(), 2u);
  EXPECT_EQ(settings[0], (std::pair<std::string, std::string>{"run.seed", "3"}));
  EXPECT_EQ(settings[1], (std::pair<std::string, std::string>{"data.path", "\"a = [b]\""}));
}

TEST(RunConfig, EachFormerConfigIsComparedWithTheNext) {
  const TemporaryFolder run;
  const auto write = [&](const char* name, std::string_view text) {
    io::write_file_synced(run / name, text);
  };
  write("config-until-step-000000400.toml", "[o]\nlr = 1\nold = 0\n");
  write("config-until-step-000000400-2.toml", "[o]\nlr = 2\n");
  write("config.toml", "[o]\nlr = 2\nnew = 5\n");
  std::vector<std::string> warnings;
  const Json found = run_config(run.path(), warnings);
  EXPECT_EQ(found["config"],
            Json::array({Json::array({"o.lr", "2"}), Json::array({"o.new", "5"})}));
  ASSERT_EQ(found["former"].size(), 2u);
  EXPECT_EQ(found["former"][0]["changes"],
            Json::array({Json::array({"o.lr", "1", "2"}), Json::array({"o.old", "0", ""})}));
  EXPECT_EQ(found["former"][1]["changes"], Json::array({Json::array({"o.new", "", "5"})}));
  EXPECT_TRUE(warnings.empty());
}

}  // namespace
}  // namespace ddpm::report
