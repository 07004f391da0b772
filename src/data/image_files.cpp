#include "ddpm/data/image_files.h"

#include "ddpm/base/error.h"
#include "ddpm/data/labels.h"
#include "ddpm/data/losses.h"
#include "ddpm/data/statistics.h"
#include "ddpm/io/image.h"
#include "fingerprint.h"
#include "parallel.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <sstream>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 10> kEndings = {"png",  "jpg", "jpeg", "jpe", "jfif",
                                                       "webp", "bmp", "tga",  "pgm", "ppm"};

// The same error with the way out that this program offers.
[[noreturn]] void fail_unreadable(const IoError& error, bool has_config) {
  if (!has_config) throw error;
  const std::string what = error.what(), prefix = error.path().string() + ": ";
  throw IoError(error.path(), what.substr(what.starts_with(prefix) ? prefix.size() : 0) +
                                  ", or set data.on_bad_image = \"skip\"");
}

// Reads and decodes the files of a source within bounds of memory.
class ImageReader {
 public:
  ImageReader(ImageSource source, const ImageOptions& options)
      : source_(std::move(source)), options_(options) {}

  const ImageSource& source() const { return source_; }
  const ImageOptions& options() const { return options_; }
  std::string full_name(const std::string& name) const { return (source_.root / name).string(); }

  io::ImageInfo info(const FileRecord& file) const {
    expect_readable(file);
    const std::vector<uint8_t> beginning = source_.beginning(file.name);
    if (beginning.size() < kHeaderBytes) return io::image_info(beginning, full_name(file.name));
    if (const auto info = io::image_header(beginning, full_name(file.name))) return *info;
    return io::image_info(source_.read(file.name), full_name(file.name));
  }

  io::Image decode(const FileRecord& file, int64_t channels) const {
    expect_readable(file);
    try {
      return io::decode_image(source_.read(file.name), full_name(file.name),
                              static_cast<int>(channels), options_.max_pixels);
    } catch (const std::bad_alloc&) {
      throw IoError(full_name(file.name),
                    "does not fit into the memory that is left; scale it down or remove it");
    }
  }

  // Why an image of this size is refused, or "".
  std::string excess(const io::ImageInfo& info) const {
    const auto too_many = [&](int64_t height, int64_t width) {
      return width > options_.max_pixels / height;
    };
    const auto bound = [&] {
      return fmt::format("more than the {:.4g} megapixels that {}",
                         1e-6 * static_cast<double>(options_.max_pixels),
                         options_.has_config ? "data.max_megapixels allows" : "are allowed");
    };
    if (too_many(info.height, info.width)) {
      return fmt::format("has {} x {} pixels, {}; scale it down or remove it", info.height,
                         info.width, bound());
    }
    if (!options_.size) return "";
    const ImageSize scaled = covering_size({info.height, info.width}, *options_.size);
    if (!too_many(scaled.height, scaled.width)) return "";
    return fmt::format(
        "is {}x{} (height x width), too long and thin: to cover {}x{} it is scaled "
        "to {}x{}, {}; cut it or remove it",
        info.height, info.width, options_.size->height, options_.size->width, scaled.height,
        scaled.width, bound());
  }

 private:
  // Before anything of the size that it names is taken.
  void expect_readable(const FileRecord& file) const {
    if (!file.problem.empty()) throw IoError(full_name(file.name), file.problem);
    // 16 bits of four channels, and room for what is no pixels.
    const auto most = static_cast<uint64_t>(8 * options_.max_pixels) + (uint64_t{64} << 20);
    if (file.size <= most) return;
    throw IoError(
        full_name(file.name),
        fmt::format("is {} bytes, more than an image of {:.4g} megapixels can be; remove it",
                    file.size, 1e-6 * static_cast<double>(options_.max_pixels)));
  }

  ImageSource source_;
  ImageOptions options_;
};

bool knows_enough(const FileRecord& file, BadImages bad_images) {
  return file.check == Check::kDecoded ||
         (file.check == Check::kHeader && bad_images != BadImages::kSkip);
}

// Looks at one file. What is wrong with it goes into `problem`.
void look_at(const ImageReader& reader, FileRecord& file) {
  const bool all = reader.options().bad_images == BadImages::kSkip;
  try {
    file.info = reader.info(file);
    file.check = Check::kHeader;
    if (!all || !reader.excess(file.info).empty()) return;
    reader.decode(file, 0);
    file.check = Check::kDecoded;
  } catch (const IoError& error) {
    if (reader.options().bad_images == BadImages::kError)
      fail_unreadable(error, reader.options().has_config);
    const std::string what = error.what(), prefix = error.path().string() + ": ";
    file.problem = what.substr(what.starts_with(prefix) ? prefix.size() : 0);
    file.check = all ? Check::kDecoded : Check::kNone;
  }
}

// Returns how many files had to be looked at.
int64_t survey(const ImageReader& reader, Catalogue& catalogue) {
  const BadImages bad_images = reader.options().bad_images;
  std::vector<FileRecord*> unknown;
  for (FileRecord& file : catalogue.files) {
    // A problem that was found by another rule, or may be mended: the file is asked again.
    if (bad_images != BadImages::kSkip && file.check == Check::kDecoded && !file.problem.empty()) {
      file.check = Check::kNone;
      file.problem.clear();
    }
    if (!knows_enough(file, bad_images)) unknown.push_back(&file);
  }
  parallel_for(static_cast<int64_t>(unknown.size()), reader.options().workers,
               bad_images == BadImages::kSkip ? "checking images" : "reading image headers",
               [&](int64_t, int64_t i) { look_at(reader, *unknown[i]); });
  return static_cast<int64_t>(unknown.size());
}

[[noreturn]] void fail_empty(const ImageSource& source, const Catalogue& catalogue) {
  throw IoError(source.root,
                fmt::format("no images in this {}; expected files ending in {}{}", source.kind,
                            fmt::join(kEndings, ", "),
                            catalogue.passed_over.empty()
                                ? ""
                                : "; there are " + counted_endings(catalogue.passed_over)));
}

struct Found {
  Catalogue catalogue;
  bool changed = true;  // is there more in it than in the index?
  bool own = false;     // has this process looked, and not another for it?
};

Found look_around(const ImageReader& reader) {
  Found found{.catalogue = reader.source().list(), .own = true};
  Catalogue& catalogue = found.catalogue;
  if (catalogue.files.empty()) fail_empty(reader.source(), catalogue);
  const auto before =
      reader.options().index.empty() ? std::nullopt : read_catalogue(reader.options().index);
  const int64_t known = before ? take_known(catalogue, *before) : 0;
  const int64_t looked_at = survey(reader, catalogue);
  found.changed = !before || looked_at > 0 || catalogue.files.size() != before->files.size();
  if (known > 0)
    spdlog::debug("{} of {} images are known from {}", known, catalogue.files.size(),
                  reader.options().index.string());
  return found;
}

// By one of several processes, for all.
Found shared(const ImageReader& reader) {
  if (!reader.options().share) return look_around(reader);
  Found found;
  const std::vector<uint8_t> bytes = reader.options().share([&] {
    found = look_around(reader);
    return to_bytes(found.catalogue);
  });
  auto catalogue = catalogue_of(bytes);
  TORCH_CHECK(catalogue, "the catalogue of images has come damaged from another process");
  found.catalogue = std::move(*catalogue);
  return found;
}

// Another process has listed the files: are they the same here?
void spot_check(const ImageReader& reader, const std::vector<FileRecord>& files) {
  constexpr int64_t kLooks = 200;
  for (const int64_t i : spread_indices(static_cast<int64_t>(files.size()), kLooks)) {
    if (!files[i].problem.empty()) continue;
    const auto size = reader.source().size_of(files[i].name);
    if (size == files[i].size) continue;
    throw IoError(reader.full_name(files[i].name),
                  size
                      ? fmt::format("has {} bytes, but {} for rank 0; give all processes the same "
                                    "data",
                                    *size, files[i].size)
                      : "does not exist, but it does for rank 0; give all processes the same data");
  }
}

void warn_of(const std::vector<std::string>& skipped, size_t total) {
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, skipped.size()); ++i)
    spdlog::warn("left out: {}", skipped[i]);
  spdlog::warn("{} of {} images cannot be read and are left out{}", skipped.size(), total,
               skipped.size() > kShown ? " (ddpm data lists them all)" : "");
}

ImageLabels labels_of(const ImageReader& reader, const std::vector<FileRecord>& files) {
  std::vector<std::string> names;
  for (const FileRecord& file : files) names.push_back(file.name);
  const ImageSource& source = reader.source();
  const auto find = [&](const std::string& name) -> std::optional<std::string> {
    if (!source.size_of(name)) return std::nullopt;
    const std::vector<uint8_t> bytes = source.read(name);
    return std::string(bytes.begin(), bytes.end());
  };
  return read_labels(reader.options().labels, names, {source.root, find});
}

class ImageFiles final : public Dataset {
 public:
  ImageFiles(ImageSource source, const ImageOptions& options)
      : reader_(std::move(source), options), found_(shared(reader_)) {
    if (options.share) spot_check(reader_, files());
    labels_ = labels_of(reader_, files());
    take(options.bad_images);
    const io::ImageInfo first = record(0).info;
    size_ = options.size.value_or(ImageSize{first.height, first.width});
    channels_ = options.channels != 0 ? options.channels : (first.channels < 3 ? 1 : 3);
    remark();
    if (options.size) return;
    for (int64_t i = 0; i < size(); ++i)
      expect_size(record(i).name, record(i).info.height, record(i).info.width);
  }

  int64_t size() const override { return static_cast<int64_t>(kept_.size()); }
  ImageShape shape() const override { return {channels_, size_.height, size_.width}; }
  int64_t class_count() const override { return static_cast<int64_t>(labels_.classes.size()); }
  std::vector<std::string> class_names() const override { return labels_.classes; }
  std::vector<std::string> skipped() const override { return skipped_; }
  std::vector<std::string> remarks() const override { return remarks_; }
  std::map<std::string, int64_t> passed_over() const override {
    return found_.catalogue.passed_over;
  }

  Example get(int64_t index) const override {
    return {resize_and_crop(decoded(index), size_), label(index)};
  }
  Example get_uncropped(int64_t index) const override {
    return {scale_to_cover(decoded(index), size_), label(index)};
  }
  std::optional<ImageShape> uncropped_shape() const override {
    const auto scaled = [&](int64_t i) {
      return covering_size({record(i).info.height, record(i).info.width}, size_);
    };
    const ImageSize first = scaled(0);
    for (int64_t i = 1; i < size(); ++i) {
      if (!(scaled(i) == first)) return std::nullopt;
    }
    return ImageShape{channels_, first.height, first.width};
  }
  SizeRange source_sizes() const override {
    const io::ImageInfo& first = record(0).info;
    SizeRange range{first.height, first.height, first.width, first.width};
    for (int64_t i = 1; i < size(); ++i) {
      const io::ImageInfo& info = record(i).info;
      range.min_height = std::min(range.min_height, info.height);
      range.max_height = std::max(range.max_height, info.height);
      range.min_width = std::min(range.min_width, info.width);
      range.max_width = std::max(range.max_width, info.width);
    }
    return range;
  }

  void save_index(const fs::path& file) const override {
    if (found_.changed) write_catalogue(file, found_.catalogue);
  }
  std::string fingerprint() const override {
    Fingerprint sum;
    for (int64_t i = 0; i < size(); ++i) {
      sum.add(record(i).name);
      sum.add(static_cast<int64_t>(record(i).size));
      sum.add(label(i));
    }
    return sum.add(labels_.classes).hex();
  }
  std::string description() const override {
    return fmt::format(
        "{} {}: {}{}", reader_.source().kind, reader_.source().root.string(), describe_contents(),
        skipped_.empty() ? "" : fmt::format("; {} damaged, left out", skipped_.size()));
  }

 private:
  const std::vector<FileRecord>& files() const { return found_.catalogue.files; }
  const FileRecord& record(int64_t index) const { return files()[kept_[index]]; }

  // Keeps the files that can be read. Class numbers stay those of all files.
  void take(BadImages bad_images) {
    for (size_t i = 0; i < files().size(); ++i) {
      const FileRecord& file = files()[i];
      const std::string problem = file.problem.empty() ? reader_.excess(file.info) : file.problem;
      if (problem.empty()) {
        kept_.push_back(static_cast<uint32_t>(i));
        continue;
      }
      const IoError error(reader_.full_name(file.name), problem);
      if (bad_images == BadImages::kError) fail_unreadable(error, reader_.options().has_config);
      skipped_.emplace_back(error.what());
    }
    if (kept_.empty()) {
      throw IoError(reader_.source().root,
                    fmt::format("none of its {} images can be read; the first: {}", files().size(),
                                skipped_[0]));
    }
    if (!skipped_.empty() && bad_images == BadImages::kSkip && found_.own)
      warn_of(skipped_, files().size());
  }

  // What a person should know, once.
  void remark() {
    remarks_ = found_.catalogue.remarks;
    if (!labels_.remark.empty()) remarks_.push_back(labels_.remark);
    Losses losses;
    for (int64_t i = 0; i < size(); ++i) losses.count(record(i).info, channels_);
    const ImageOptions& options = reader_.options();
    const bool as_asked = options.channels != 0;
    for (std::string& remark :
         losses.remarks(size(), record(0).name, channels_, as_asked, options.has_config))
      remarks_.push_back(std::move(remark));
    const std::string pictures = pictures_passed_over(found_.catalogue.passed_over);
    if (!pictures.empty()) remarks_.push_back(pictures);
    if (!found_.own) return;
    for (const std::string& remark : remarks_) spdlog::warn("{}", remark);
  }

  torch::Tensor decoded(int64_t index) const {
    TORCH_CHECK(index >= 0 && index < size(), "image ", index, " of ", size());
    const FileRecord& file = record(index);
    const io::Image image = [&] {
      try {
        return reader_.decode(file, channels_);
      } catch (const IoError& error) {
        fail_unreadable(error, reader_.options().has_config);
      }
    }();
    // The file may be another than the one that was looked at.
    const std::string excess = reader_.excess({image.height, image.width});
    if (!excess.empty()) throw IoError(reader_.full_name(file.name), excess);
    if (!reader_.options().size) expect_size(file.name, image.height, image.width);
    return io::to_tensor(image);
  }
  int64_t label(int64_t index) const {
    return labels_.labels.empty() ? -1 : labels_.labels[kept_[index]];
  }

  void expect_size(const std::string& name, int64_t height, int64_t width) const {
    if (ImageSize{height, width} == size_) return;
    throw IoError(
        reader_.full_name(name),
        fmt::format("is {}x{} (height x width), but {} is {}x{}{}", height, width, record(0).name,
                    size_.height, size_.width,
                    reader_.options().has_config
                        ? "; set data.image_size to resize and crop all images to one size"
                        : "; all must have one size"));
  }

  ImageReader reader_;
  Found found_;
  std::vector<uint32_t> kept_;  // image i is file kept_[i]
  ImageLabels labels_;          // of all files
  ImageSize size_;
  int64_t channels_ = 3;
  std::vector<std::string> skipped_, remarks_;
};

}  // namespace

std::string ending_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || name.find('/', dot) != std::string::npos) return "";
  std::string ending = name.substr(dot + 1);
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return ending;
}

bool is_hidden_name(const std::string& name) {
  std::stringstream stream(name);
  for (std::string part; std::getline(stream, part, '/');) {
    if (part.starts_with('.') || part == "__MACOSX") return true;
  }
  return false;
}

bool is_image_name(const std::string& name) {
  const std::string ending = ending_of(name);
  return !is_hidden_name(name) &&
         std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options) {
  return std::make_unique<ImageFiles>(std::move(source), options);
}

}  // namespace ddpm::data
