#include "ddpm/sample/picture_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSettingsName = "sampling.json";

using Json = nlohmann::ordered_json;

bool is_picture_name(const fs::path& path) {
  const std::string stem = path.stem().string();
  return path.extension() == ".png" && stem.size() >= 6 &&
         stem.find_first_not_of("0123456789") == std::string::npos;
}

// The first key on which two sets of settings disagree, as "steps 50, now 20".
std::string first_difference(const Json& before, const Json& now) {
  for (const auto& [key, value] : now.items()) {
    const Json was = before.is_object() ? before.value(key, Json()) : Json();
    if (was != value)
      return fmt::format("{} {}, now {}", key, io::json_text(was), io::json_text(value));
  }
  return "other settings";
}

void remove_pictures(const fs::path& folder) {
  std::vector<fs::path> pictures;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (is_picture_name(entry.path())) pictures.push_back(entry.path());
  }
  for (const fs::path& picture : pictures) fs::remove(picture);
}

}  // namespace

PictureFolder::PictureFolder(fs::path folder, const std::string& settings, Before before)
    : folder_(std::move(folder)) {
  try {
    fs::create_directories(folder_);
    const fs::path file = folder_ / kSettingsName;
    const Json now = Json::parse(settings);
    if (fs::exists(file)) {
      const Json was = Json::parse(io::read_text(file), nullptr, /*allow_exceptions=*/false);
      if (was == now) return;
      if (before == Before::kKeep) {
        throw IoError(folder_, fmt::format("holds pictures drawn in another way ({}); use the same "
                                           "flags, or another folder with --out",
                                           first_difference(was, now)));
      }
      remove_pictures(folder_);
    }
    io::write_file_atomic(file, io::json_text(now, 2) + "\n");
  } catch (const fs::filesystem_error& error) {
    throw IoError(folder_, fmt::format("cannot be used as a folder for pictures: {}",
                                       error.code().message()));
  }
}

fs::path PictureFolder::file_of(int64_t image) const {
  return folder_ / fmt::format("{:06}.png", image);
}

std::vector<int64_t> PictureFolder::missing(const std::vector<int64_t>& images,
                                            const std::vector<int64_t>& shape) const {
  std::vector<int64_t> result;
  std::copy_if(images.begin(), images.end(), std::back_inserter(result), [&](int64_t image) {
    if (!fs::exists(file_of(image))) return true;
    try {
      return read(image).sizes() != torch::IntArrayRef(shape);
    } catch (const IoError&) {
      return true;
    }
  });
  return result;
}

void PictureFolder::write(int64_t image, const torch::Tensor& chw_u8) const {
  const fs::path file = file_of(image);
  const fs::path partial = fs::path(file).concat(".part");
  io::write_png(partial, chw_u8);
  std::error_code error;
  fs::rename(partial, file, error);
  if (error) throw IoError(file, "cannot be written: " + error.message());
}

torch::Tensor PictureFolder::read(int64_t image) const {
  const fs::path file = file_of(image);
  return io::to_tensor(io::decode_image(io::read_file(file), file.string()));
}

}  // namespace ddpm::sample
