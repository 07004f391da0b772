#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <torch/types.h>

namespace ddpm::io {

/// Writes one TensorBoard event file, `events.out.tfevents.<time>.<host>.<pid>`, and creates its
/// folder. The format is TFRecord framing around `tensorflow.Event` messages
/// (tensorflow/core/util/event.proto). Not thread-safe. Every function throws IoError if the file
/// cannot be written.
class EventWriter {
 public:
  explicit EventWriter(const std::filesystem::path& directory);

  const std::filesystem::path& path() const { return path_; }
  /// Marks that the run continues from `step`: TensorBoard then drops later steps of earlier files
  /// in the folder.
  void restart(int64_t step);
  void scalar(std::string_view tag, int64_t step, double value);
  /// chw_u8: uint8 [C,H,W], C = 1, 3 or 4.
  void image(std::string_view tag, int64_t step, const torch::Tensor& chw_u8);
  /// Passes buffered data to the operating system.
  void flush();

 private:
  void write_event(int64_t step, std::string_view payload);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace ddpm::io
