#include "image_files.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "fingerprint.h"
#include "image_survey.h"
#include "labels.h"
#include "losses.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

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
      : reader_(std::move(source), options), found_(survey(reader_)) {
    labels_ = labels_of(reader_, files());
    take(options.bad_images);
    const io::ImageInfo first = record(0).info;
    if (options.channels > io::kMaxImageChannels)
      throw IoError(reader_.source().root,
                    fmt::format("holds image files, which have 1 to 4 channels, but {} are asked "
                                "for; use a NumPy array for more",
                                options.channels));
    size_ = options.size.value_or(ImageSize{first.height, first.width});
    channels_ = options.channels != 0 ? options.channels : (first.channels < 3 ? 1 : 3);
    if (options.depth > 8 && has_deep()) pixel_type_ = torch::kFloat;
    remark();
    if (options.size) return;
    for (int64_t i = 0; i < size(); ++i)
      expect_size(record(i).name, record(i).info.height, record(i).info.width);
  }

  int64_t size() const override { return static_cast<int64_t>(kept_.size()); }
  ImageShape shape() const override { return {channels_, size_.height, size_.width}; }
  torch::Dtype pixel_type() const override { return pixel_type_; }
  int64_t class_count() const override { return static_cast<int64_t>(labels_.classes.size()); }
  std::vector<std::string> class_names() const override { return labels_.classes; }
  std::vector<std::string> image_names() const override {
    std::vector<std::string> names;
    for (int64_t i = 0; i < size(); ++i) names.push_back(record(i).name);
    return names;
  }
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

  // Keeps the readable files. Class numbers are those of all files.
  void take(BadImages bad_images) {
    for (size_t i = 0; i < files().size(); ++i) {
      const FileRecord& file = files()[i];
      const std::string problem = file.problem.empty() ? reader_.excess(file.info) : file.problem;
      if (problem.empty()) {
        kept_.push_back(static_cast<uint32_t>(i));
        continue;
      }
      const IoError error(reader_.full_name(file.name), problem);
      if (bad_images == BadImages::kError) reader_.fail_unreadable(error);
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

  bool has_deep() const {
    return std::any_of(kept_.begin(), kept_.end(),
                       [&](uint32_t file) { return files()[file].info.deep; });
  }

  // Collects the notes for the user and logs them once.
  void remark() {
    remarks_ = found_.catalogue.remarks;
    if (!labels_.remark.empty()) remarks_.push_back(labels_.remark);
    Losses losses;
    for (int64_t i = 0; i < size(); ++i) losses.count(record(i).info, channels_);
    const ImageOptions& options = reader_.options();
    if (pixel_type_ != torch::kByte) losses.depth = 0;
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
    const torch::Tensor image = [&] {
      try {
        return reader_.decode(file, channels_);
      } catch (const IoError& error) {
        reader_.fail_unreadable(error);
      }
    }();
    // The file may have changed since it was checked.
    const int64_t height = image.size(1), width = image.size(2);
    const std::string excess = reader_.excess({height, width});
    if (!excess.empty()) throw IoError(reader_.full_name(file.name), excess);
    if (!reader_.options().size) expect_size(file.name, height, width);
    return pixel_type_ == torch::kByte ? rounded_levels(image) : image.to(pixel_type_);
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
  Survey found_;
  std::vector<uint32_t> kept_;  // image i is file kept_[i]
  ImageLabels labels_;          // of all files
  ImageSize size_;
  int64_t channels_ = 3;
  torch::Dtype pixel_type_ = torch::kByte;
  std::vector<std::string> skipped_, remarks_;
};

}  // namespace

std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options) {
  return std::make_unique<ImageFiles>(std::move(source), options);
}

}  // namespace ddpm::data
