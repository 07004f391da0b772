#pragma once

#include "ddpm/base/error.h"
#include "ddpm/checkpoint/store.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

// Checkpoints for the tests of the store.

namespace ddpm::checkpoint {

namespace fs = std::filesystem;
using Steps = std::vector<int64_t>;

// A checkpoint whose content tells its step.
inline fs::path publish(CheckpointStore& store, int64_t step) {
  CheckpointDraft draft = store.begin(step);
  draft.add_tensors("model.safetensors", {{"weight", torch::full({8}, step)}}, {{"format", "pt"}});
  draft.add_text("state.json", "{\"step\": " + std::to_string(step) + "}\n");
  return draft.publish();
}

inline int64_t step_inside(const fs::path& checkpoint) {
  return io::read_safetensors(checkpoint / "model.safetensors")[0].tensor[7].item<int64_t>();
}

inline void flip_bit(const fs::path& path, uint64_t byte, int bit) {
  std::vector<uint8_t> content = io::read_file(path);
  content.at(byte) ^= static_cast<uint8_t>(1 << bit);
  io::OutputFile(path).write(content);
}

inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const IoError& error) {
    return error.what();
  }
  return "no error";
}

inline std::vector<std::string> entries_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline bool has_leftovers(const fs::path& directory) {
  const std::vector<std::string> names = entries_of(directory);
  return std::any_of(names.begin(), names.end(), [](const auto& name) { return name[0] == '.'; });
}

// Every published checkpoint is intact and holds the step that its name says.
inline void expect_all_valid(const CheckpointStore& store) {
  for (const int64_t step : store.steps()) {
    ASSERT_EQ(CheckpointStore::verify(store.folder_of(step)).problem, "") << step;
    ASSERT_EQ(step_inside(store.folder_of(step)), step);
  }
}

}  // namespace ddpm::checkpoint
