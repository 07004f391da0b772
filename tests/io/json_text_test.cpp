#include "ddpm/io/json_text.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::io {
namespace {

TEST(JsonText, WritesWhatIsNotUtf8AsEscapesInNamesAndValuesAtAnyDepth) {
  const nlohmann::ordered_json json{
      {"z", 1}, {"caf\xE9", {{"files", {"a\xFF.png", "\xC3\xA9.png"}}}}, {"a", nullptr}};
  EXPECT_EQ(json_text(json),
            "{\"z\":1,\"caf\\\\xE9\":{\"files\":[\"a\\\\xFF.png\",\"\xC3\xA9.png\"]},\"a\":null}");
}

TEST(JsonText, LeavesOtherJsonAsTheLibraryWritesIt) {
  const nlohmann::ordered_json json{
      {"numbers", {1, -2.5, 1e-30}}, {"empty", nlohmann::ordered_json::object()}, {"yes", true}};
  EXPECT_EQ(json_text(json), json.dump());
  EXPECT_EQ(json_text(json, 2), json.dump(2));
}

}  // namespace
}  // namespace ddpm::io
