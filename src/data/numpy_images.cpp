#include "numpy_images.h"

#include "array_images.h"
#include "ddpm/base/error.h"
#include "ddpm/data/memory.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/npy.h"
#include "folder_listing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxChannels = 4;
constexpr int64_t kMaxClasses = 1 << 20;

// A range of floats: `low` is black, `high` white.
struct Range {
  const char* name;
  double low;
  double high;
};
constexpr std::array<Range, 3> kRanges = {{{"0_1", 0, 1}, {"-1_1", -1, 1}, {"0_255", 0, 255}}};

bool is_channel_count(int64_t size) { return size >= 1 && size <= kMaxChannels; }

// [N,H,W] or four axes -> a view [N,C,H,W]; sets `layout` to the one found.
torch::Tensor as_nchw(const torch::Tensor& array, const std::string& file, std::string& layout) {
  const std::string sizes = fmt::format("[{}]", fmt::join(array.sizes(), ", "));
  const auto fail = [&](const std::string& reason) { throw IoError(file, reason); };
  if (array.numel() == 0) fail(fmt::format("holds no image: its shape is {}", sizes));
  if (array.dim() == 3) {
    layout = "nhw";
    return array.unsqueeze(1);
  }
  if (array.dim() != 4) {
    fail(fmt::format("has the shape {}; images are [N,H,W], [N,H,W,C] or [N,C,H,W]", sizes));
  }
  const bool last = is_channel_count(array.size(3)), second = is_channel_count(array.size(1));
  if (layout == "auto") {
    if (last == second) {
      fail(fmt::format(
          "has the shape {}, in which {} axis could be the channels (1 to 4); {}", sizes,
          last ? "the second and the last" : "no",
          last ? "set data.layout = \"nhwc\" or \"nchw\"" : "images are [N,H,W,C] or [N,C,H,W]"));
    }
    layout = last ? "nhwc" : "nchw";
  }
  if (!(layout == "nhwc" ? last : second)) {
    fail(
        fmt::format("has the shape {}, which as data.layout = \"{}\" makes {} channels; 1 to 4 are "
                    "possible",
                    sizes, layout, array.size(layout == "nhwc" ? 3 : 1)));
  }
  return layout == "nhwc" ? array.permute({0, 3, 1, 2}) : array;
}

// The smallest and the largest value, both finite.
std::pair<double, double> extremes(const torch::Tensor& nchw, const std::string& file) {
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 22) / nchw[0].numel());
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (int64_t begin = 0; begin < nchw.size(0); begin += chunk) {
    const torch::Tensor part =
        nchw.narrow(0, begin, std::min(chunk, nchw.size(0) - begin)).to(torch::kDouble);
    const auto [part_low, part_high] = at::aminmax(part);
    const double a = part_low.item<double>(), b = part_high.item<double>();
    if (!std::isfinite(a) || !std::isfinite(b)) {
      const torch::Tensor bad = at::logical_not(at::isfinite(part)).flatten(1).any(1);
      throw IoError(file, fmt::format("holds NaN or infinity in image {}; mend the array",
                                      begin + bad.nonzero()[0][0].item<int64_t>()));
    }
    low = std::min(low, a);
    high = std::max(high, b);
  }
  return {low, high};
}

// Values slightly outside are rounding errors. The first range that holds all values is used.
Range range_of(const std::string& name, double low, double high, const std::string& file) {
  if (name != "auto") {
    return *std::find_if(kRanges.begin(), kRanges.end(),
                         [&](const Range& range) { return name == range.name; });
  }
  for (const Range& range : kRanges) {
    const double slack = 0.002 * (range.high - range.low);
    if (low >= range.low - slack && high <= range.high + slack) return range;
  }
  throw IoError(file, fmt::format("holds values from {:.6g} to {:.6g}, which are none of 0..1, "
                                  "-1..1 or 0..255; set data.range, and values outside are cut off",
                                  low, high));
}

torch::Tensor to_bytes(const torch::Tensor& image, Range range) {
  const auto type = image.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const double scale = 255.0 / (range.high - range.low);
  return image.to(type).sub(range.low).mul(scale).round().clamp(0, 255).to(torch::kUInt8);
}

// The images without their labels.
ImageArray images_in(torch::Tensor array, const std::string& file, ArrayOptions options) {
  ImageArray result;
  // In Fortran order every image is scattered over the whole file: copy once.
  if (array.dim() > 1 && array.stride(0) == 1) array = array.contiguous();
  const torch::Tensor nchw = as_nchw(array, file, options.layout);
  const auto type = nchw.scalar_type();
  result.count = nchw.size(0);
  result.shape = {nchw.size(1), nchw.size(2), nchw.size(3)};
  std::string values = "bytes";
  if (type == torch::kByte) {
    if (options.range != "auto" && options.range != "0_255") {
      throw IoError(file, fmt::format("holds bytes, 0..255, but data.range is \"{}\"; set it to "
                                      "\"auto\"",
                                      options.range));
    }
    result.image = [nchw](int64_t i) { return nchw[i].contiguous(); };
  } else if (type == torch::kBool) {
    values = "booleans";
    result.image = [nchw](int64_t i) { return nchw[i].to(torch::kByte).mul(255).contiguous(); };
  } else if (at::isFloatingType(type)) {
    const auto [low, high] = extremes(nchw, file);
    const Range range = range_of(options.range, low, high, file);
    values = fmt::format("floats of range {} ({:.4g} to {:.4g})", range.name, low, high);
    result.image = [nchw, range](int64_t i) { return to_bytes(nchw[i], range).contiguous(); };
  } else {
    throw IoError(file, fmt::format("holds {} values; images are uint8 (0..255) or floats: save it "
                                    "with .astype(\"uint8\")",
                                    c10::toString(type)));
  }
  result.title = fmt::format("NumPy array {} ({}, {})", file, options.layout, values);
  return result;
}

std::vector<int64_t> labels_in(torch::Tensor array, const std::string& file, int64_t count) {
  if (array.dim() == 2 && array.size(1) == 1) array = array.squeeze(1);
  const auto fail = [&](const std::string& reason) { throw IoError(file, reason); };
  if (!at::isIntegralType(array.scalar_type(), /*includeBool=*/false) || array.dim() != 1) {
    fail(fmt::format("holds {} of shape [{}]; labels are integers of shape [N]",
                     c10::toString(array.scalar_type()), fmt::join(array.sizes(), ", ")));
  }
  if (array.size(0) != count)
    fail(fmt::format("holds {} labels for {} images", array.size(0), count));
  array = array.to(torch::kLong).contiguous();
  const int64_t low = array.min().item<int64_t>(), high = array.max().item<int64_t>();
  if (low < 0 || high >= kMaxClasses) {
    fail(fmt::format("holds labels from {} to {}; they must lie in 0..{}", low, high,
                     kMaxClasses - 1));
  }
  return {array.data_ptr<int64_t>(), array.data_ptr<int64_t>() + count};
}

void expect_file(const fs::path& file, bool has_config) {
  expect_exists(file, has_config);
  if (fs::is_directory(file)) throw IoError(file, "is a folder; set data.path to a file in it");
}

// The first of `names` that the archive holds as "name.npy".
std::optional<std::string> find_array(const std::vector<std::string>& arrays,
                                      const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (std::find(arrays.begin(), arrays.end(), name) != arrays.end()) return name;
  }
  return std::nullopt;
}

std::vector<std::string> arrays_in(const io::ZipReader& archive) {
  constexpr std::string_view kEnding = ".npy";
  std::vector<std::string> arrays;
  for (const std::string& name : archive.names()) {
    if (name.ends_with(kEnding)) arrays.push_back(name.substr(0, name.size() - kEnding.size()));
  }
  return arrays;
}

}  // namespace

std::vector<std::string> array_layouts() { return {"auto", "nhwc", "nchw"}; }

std::vector<std::string> array_ranges() {
  std::vector<std::string> names = {"auto"};
  for (const Range& range : kRanges) names.emplace_back(range.name);
  return names;
}

std::unique_ptr<Dataset> open_npy(const fs::path& file, const ArrayOptions& array,
                                  const ImageOptions& options) {
  expect_file(file, options.has_config);
  ImageArray result = images_in(io::read_npy(file), file.string(), array);
  result.files = {file};
  return open_array(std::move(result), options);
}

std::unique_ptr<Dataset> open_npz(const fs::path& file, const ArrayOptions& array,
                                  const ImageOptions& options) {
  expect_file(file, options.has_config);
  const io::ZipReader archive(file);
  const std::vector<std::string> arrays = arrays_in(archive);
  auto images = find_array(arrays, {"images", "data", "arr_0"});
  if (!images && arrays.size() == 1) images = arrays[0];
  if (!images) {
    throw IoError(file, fmt::format("holds no array named images, data or arr_0, but {}",
                                    arrays.empty() ? "none at all"
                                                   : fmt::format("{}", fmt::join(arrays, ", "))));
  }
  auto labels = find_array(arrays, {"labels", "label", "y"});
  if (!labels && *images == "arr_0") labels = find_array(arrays, {"arr_1"});

  const auto load = [&](const std::string& name) {
    expect_fits_memory(file / (name + ".npy"), static_cast<double>(archive.size_of(name + ".npy")));
    return io::parse_npy(archive.read(name + ".npy"), (file / (name + ".npy")).string());
  };
  ImageArray result = images_in(load(*images), (file / (*images + ".npy")).string(), array);
  result.files = {file};
  if (labels) {
    result.labels = labels_in(load(*labels), (file / (*labels + ".npy")).string(), result.count);
    result.classes =
        numbered_classes(*std::max_element(result.labels.begin(), result.labels.end()) + 1);
  }
  return open_array(std::move(result), options);
}

}  // namespace ddpm::data
