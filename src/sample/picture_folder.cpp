#include "ddpm/sample/picture_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/npy.h"
#include "ddpm/io/png.h"
#include "picture_record.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPngChannels = 4;

std::string name_of(int64_t image, const std::string& ending) {
  return fmt::format("{:06}{}", image, ending);
}

// What other programs would read as one of the samples.
bool is_image(const fs::path& path) {
  constexpr std::array<std::string_view, 13> kEndings{".png", ".jpg",  ".jpeg", ".jfif", ".bmp",
                                                      ".tga", ".pgm",  ".ppm",  ".gif",  ".webp",
                                                      ".tif", ".tiff", ".npy"};
  const std::string ending = lowercase(path.extension().string());
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

// The index of an image of ours by its name; -1 if it is no such name.
int64_t index_of(const fs::path& path) {
  const std::string stem = path.stem().string();
  if (stem.size() < 6 || stem.size() >= 18 || !is_digits(stem)) return -1;
  const int64_t index = std::stoll(stem);
  const bool ours =
      path.filename() == name_of(index, ".png") || path.filename() == name_of(index, ".npy");
  return ours ? index : -1;
}

struct Listed {
  int64_t image;
  fs::path file;
};

// The images in a folder: those that its record lists, and the others.
struct Contents {
  std::vector<Listed> listed;
  std::vector<std::string> others;
};

Contents contents_of(const fs::path& folder, const PictureRecord& record) {
  Contents contents;
  if (!fs::exists(folder)) return contents;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!is_image(entry.path())) continue;
    const int64_t index = index_of(entry.path());
    if (index >= 0 && index < record.images) {
      contents.listed.push_back({index, entry.path()});
    } else {
      contents.others.push_back(entry.path().filename().string());
    }
  }
  std::sort(contents.others.begin(), contents.others.end());
  return contents;
}

void expect_no_others(const fs::path& folder, const Contents& contents) {
  if (contents.others.empty()) return;
  const size_t more = contents.others.size() - 1;
  throw IoError(folder,
                fmt::format("holds images that no sampling.json there lists ({}{}): they are not "
                            "replaced, and other programs would count them as samples; choose "
                            "another folder with --out",
                            contents.others[0], more > 0 ? fmt::format(" and {} more", more) : ""));
}

void expect_same_set(const fs::path& folder, const PictureRecord& record, const PictureSet& set,
                     const Contents& contents) {
  const auto have = static_cast<int64_t>(contents.listed.size());
  if (have == 0) return;
  const std::string images = fmt::format("{} image{}", have, have == 1 ? "" : "s");
  if (const std::string difference = first_difference(record, set); !difference.empty()) {
    throw IoError(folder, fmt::format("holds {} of other settings ({}); choose another folder with "
                                      "--out, delete them with --overwrite, or repeat those "
                                      "settings with --continue",
                                      images, difference));
  }
  int64_t last = 0;
  for (const Listed& listed : contents.listed) last = std::max(last, listed.image);
  if (last < set.count) return;
  throw IoError(
      folder, fmt::format("holds {} of these settings, more than the {} asked for; use --num {} or "
                          "more, choose another folder with --out, or delete the rest with "
                          "--overwrite",
                          images, set.count, last + 1));
}

void expect_beside(const fs::path& folder, const PictureRecord& record, const PictureSet& set) {
  for (const fs::path& file : set.beside) {
    if (!fs::exists(file) || record.lists_beside(folder, file) || io::is_marked(file)) continue;
    throw IoError(file,
                  "already exists and was not written by ddpm sample; move it, or choose another "
                  "folder with --out or another file with --grid");
  }
}

PictureRecord checked(const PictureFolder& folder, const PictureSet& set, bool overwrite,
                      Contents& contents) {
  const PictureRecord record = PictureRecord::read(folder.path());
  contents = contents_of(folder.path(), record);
  expect_no_others(folder.path(), contents);
  expect_beside(folder.path(), record, set);
  if (!overwrite) expect_same_set(folder.path(), record, set, contents);
  return record;
}

template <class Work>
void with_folder_errors(const fs::path& folder, const Work& work) {
  try {
    work();
  } catch (const fs::filesystem_error& error) {
    throw IoError(folder,
                  fmt::format("cannot be used as a folder for images: {}", error.code().message()));
  }
}

}  // namespace

std::string picture_ending(int64_t channels) { return channels <= kPngChannels ? ".png" : ".npy"; }

fs::path PictureFolder::file_of(int64_t image) const { return folder_ / name_of(image, ending_); }

fs::path PictureFolder::beside(const std::string& what) const {
  fs::path folder = folder_.lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // "pictures/"
  if (folder.filename() == "." || folder.filename() == ".." || folder.empty())
    folder = fs::absolute(folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder.parent_path() / fmt::format("{}-{}.png", folder.filename().string(), what);
}

void PictureFolder::check(const PictureSet& set, bool overwrite) const {
  Contents contents;
  with_folder_errors(folder_, [&] { checked(*this, set, overwrite, contents); });
}

void PictureFolder::prepare(const PictureSet& set, bool overwrite) const {
  with_folder_errors(folder_, [&] {
    fs::create_directories(folder_);
    Contents contents;
    PictureRecord record = checked(*this, set, overwrite, contents);
    const bool same = first_difference(record, set).empty();

    // 1. What --overwrite gives up: listed files alone.
    for (const auto& [image, file] : contents.listed) {
      if (!same || image >= set.count) fs::remove(file);
    }
    std::vector<std::string> kept;
    for (const std::string& listed : record.beside) {
      const fs::path file = folder_ / listed;
      const bool grid = listed == relative_to(folder_, beside("grid")) ||
                        listed == relative_to(folder_, beside("trajectory")) ||
                        listed == relative_to(folder_, beside("animation"));
      if (!same && grid) fs::remove(file);
      if (same && fs::exists(file)) kept.push_back(listed);
    }

    // 2. What is listed from now on.
    for (const fs::path& file : set.beside) {
      const std::string name = relative_to(folder_, file);
      if (std::find(kept.begin(), kept.end(), name) == kept.end()) kept.push_back(name);
    }
    record.settings = io::parsed_json(set.settings);
    record.source = io::parsed_json(set.source);
    record.images = set.count;
    record.beside = kept;
    record.write(folder_);
  });
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

void PictureFolder::write(int64_t image, const torch::Tensor& pixels,
                          const std::vector<io::PngText>& texts) const {
  if (ending_ == ".png") {
    io::replace_file(file_of(image), io::with_png_texts(io::encode_png(pixels), texts));
    return;
  }
  const torch::Tensor hwc = pixels.permute({1, 2, 0}).contiguous();
  io::replace_file(file_of(image),
                   io::encode_npy(hwc.scalar_type() == torch::kInt ? hwc.to(torch::kUInt16) : hwc));
}

void PictureFolder::write_beside(const fs::path& file, const torch::Tensor& chw_u8,
                                 const std::vector<io::PngText>& texts) {
  write_beside(file, io::encode_png(chw_u8), texts);
}

void PictureFolder::write_beside(const fs::path& file, const std::vector<uint8_t>& png,
                                 const std::vector<io::PngText>& texts) {
  const std::vector<uint8_t> ours = io::marked(io::with_png_texts(png, texts), "ddpm sample");
  io::write_file_atomic(file, [&](io::OutputFile& out) { out.write(ours); });
}

torch::Tensor PictureFolder::read(int64_t image) const {
  const fs::path file = file_of(image);
  if (ending_ == ".png") return io::to_tensor(io::decode_image(io::read_file(file), file.string()));
  const torch::Tensor hwc = io::parse_npy(io::read_file(file), file.string());
  const bool sixteen = hwc.scalar_type() == torch::kInt;  // uint16, widened
  if (hwc.dim() != 3 || (!sixteen && hwc.scalar_type() != torch::kByte))
    throw IoError(file, "is not an image [H,W,C] of uint8 or uint16; delete it");
  const torch::Tensor chw = hwc.permute({2, 0, 1}).contiguous();
  return sixteen ? chw.to(torch::kFloat).div(257).round().to(torch::kByte) : chw;
}

torch::Tensor PictureFolder::grid(int64_t count, int64_t columns) const {
  std::vector<torch::Tensor> images;
  for (int64_t i = 0; i < count; ++i) images.push_back(read(i));
  return io::enlarged(io::make_grid(torch::stack(images), columns));
}

}  // namespace ddpm::sample
