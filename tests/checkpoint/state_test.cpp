#include "ddpm/checkpoint/state.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::checkpoint {
namespace {

TrainingState read_with(const std::string& key, const std::string& value) {
  auto json = nlohmann::json::parse(to_json_text(TrainingState()));
  json[key] = nlohmann::json::parse(value);
  return parse_training_state("state.json", json.dump());
}

TEST(TrainingStateText, IsReadAsItWasWritten) {
  TrainingState state;
  state.step = 9'007'199'254'740'993;  // 2^53 + 1, which is no double
  state.seed = 18'446'744'073'709'551'615u;
  state.skipped_in_a_row = 3;
  state.ema_decays = {0.9999, 0.1};
  state.dataset = "pictures of \"1\"";
  const std::string text = to_json_text(state);
  const TrainingState read = parse_training_state("state.json", text);
  EXPECT_EQ(read.step, state.step);
  EXPECT_EQ(read.seed, state.seed);
  EXPECT_EQ(read.ema_decays, state.ema_decays);
  EXPECT_EQ(text.find("power_lengths"), std::string::npos) << "as former versions wrote it";
  state.power_lengths = {0.05, 0.1};
  EXPECT_EQ(parse_training_state("state.json", to_json_text(state)).power_lengths,
            state.power_lengths);
  EXPECT_EQ(to_json_text(read), text);
}

TEST(TrainingStateText, NumbersThatCountNothingAreRefused) {
  for (const std::string value : {"-1", "1.5", "1e300", "9223372036854775808", "\"5\"", "null"}) {
    EXPECT_EQ(fixtures::message_of<IoError>([&] {
                read_with("step", value);
              }).find("state.json: is not a training state: "),
              0u)
        << value;
  }
  EXPECT_THROW(read_with("seed", "1e19"), IoError);
  EXPECT_THROW(read_with("world_size", "-2"), IoError);
  EXPECT_THROW(parse_training_state("state.json", "[]"), IoError);
  EXPECT_THROW(parse_training_state("state.json", "{\"format_version\": 1}"), IoError);
}

TEST(TrainingStateText, NewerVersionIsNamed) {
  EXPECT_NE(fixtures::message_of<IoError>([] {
              read_with("format_version", "2");
            }).find("has format version 2; this program reads up to 1"),
            std::string::npos);
}

TEST(TrainingStateText, MembersOfLaterVersionsMayBeMissing) {
  auto json = nlohmann::json::parse(to_json_text(TrainingState()));
  for (const char* key : {"dataset_fingerprint", "world_size", "skipped_in_a_row"}) json.erase(key);
  const TrainingState state = parse_training_state("state.json", json.dump());
  EXPECT_EQ(state.world_size, 1);
  EXPECT_EQ(state.fingerprint, "");
}

}  // namespace
}  // namespace ddpm::checkpoint
