#pragma once

#include "ddpm/io/png.h"
#include "ddpm/pipeline/sample_plan.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::pipeline {

/// The keyword of the PNG text that holds a note: a JSON object with the keys program, picture
/// ("image", "grid", "trajectory", "animation"), image, class, images, arguments (the words after
/// `ddpm` that make the picture again), checkpoint, weights_file and settings (as in sampling.json).
inline constexpr const char* kNoteKeyword = "ddpm";

/// The notes of one call's pictures: how each is made again. They hold the command line and the
/// settings, and nothing else about the machine.
class PictureNotes {
 public:
  /// Before anything is left out of the plan's images.
  PictureNotes(const SampleOptions& options, const SamplePlan& plan);

  /// Of an image that was sampled in this batch. Empty without sample.provenance.
  std::vector<io::PngText> of_image(int64_t image, const std::vector<int64_t>& batch) const;
  /// Of a picture beside the folder: "grid", "trajectory" or "animation". `flag`: the flag that makes
  /// it, or "".
  std::vector<io::PngText> of_set(const std::string& picture, const std::string& flag) const;

 private:
  std::vector<int64_t> usual_batch(int64_t image) const;
  std::vector<io::PngText> texts(nlohmann::ordered_json note,
                                 const std::vector<std::string>& words) const;

  bool on_;
  int64_t count_, batch_;
  std::vector<int64_t> classes_;
  SampleVectors vectors_;
  nn::VectorSpec columns_;
  std::vector<std::string> words_;  // "sample", "--ckpt", ...
  nlohmann::ordered_json common_;   // of all notes
};

/// The note among a PNG's texts; none if there is none. Throws IoError(name, ...) if it is damaged,
/// or does not name a command of this program.
std::optional<nlohmann::ordered_json> read_note(const std::vector<io::PngText>& texts,
                                                const std::string& name);

/// The value of a note's key as text for people; "null" if there is none.
std::string note_text(const nlohmann::ordered_json& note, const char* key);

/// Where the weights of a picture are today.
struct NotedWeights {
  std::string state;            ///< "unchanged", "changed", "moved" or "missing"
  std::string text;             ///< the same for people
  std::filesystem::path found;  ///< their new place, if they moved
};

/// Looks for the weights of a note by their checksum: where it says, then in the checkpoints below
/// runs/ in the current folder.
NotedWeights find_weights(const nlohmann::ordered_json& note);

/// The words after `ddpm` of a note's command line, with the present place of the weights.
std::vector<std::string> words_of(const nlohmann::ordered_json& note, const NotedWeights& weights);

/// Numbers of images from a flag's text, as 3 or 0-4,7: ascending, below `count`. Throws UsageError,
/// which names the flag.
std::vector<int64_t> image_numbers(const std::string& flag, const std::string& text, int64_t count);

/// The same numbers as such a text. images: ascending.
std::string text_of_numbers(const std::vector<int64_t>& images);

/// The words of a command line as a POSIX shell reads them.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace ddpm::pipeline
