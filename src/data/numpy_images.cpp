#include "numpy_images.h"

#include "array_images.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/memory.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/npy.h"
#include "folder_listing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNpyHeaderBytes = (64 << 10) + 16;  // always enough

constexpr int64_t kMaxClasses = 1 << 20;

// A range of values: `low` is black, `high` white.
struct Range {
  std::string name;
  double low;
  double high;
};

// "LOW_HIGH", LOW < HIGH.
std::optional<Range> parsed_range(const std::string& name) {
  const size_t middle = name.find('_');
  if (middle == std::string::npos) return std::nullopt;
  const std::string_view text = name;
  const auto low = parsed_number(text.substr(0, middle));
  const auto high = parsed_number(text.substr(middle + 1));
  const bool fits = low && high && std::isfinite(*low) && std::isfinite(*high) && *low < *high;
  if (!fits) return std::nullopt;
  return Range{name, *low, *high};
}

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
  if (layout == "auto") {
    int64_t limit = io::kMaxImageChannels;  // colours and alpha are more likely than other channels
    if (std::min(array.size(3), array.size(1)) > limit) limit = kMaxImageChannels;
    const bool last = array.size(3) <= limit, second = array.size(1) <= limit;
    if (last == second) {
      fail(fmt::format(
          "has the shape {}, in which {} axis could be the channels (1 to {}); {}", sizes,
          last ? "the second and the last" : "no", limit,
          last ? "set data.layout = \"nhwc\" or \"nchw\"" : "images are [N,H,W,C] or [N,C,H,W]"));
    }
    layout = last ? "nhwc" : "nchw";
  }
  const int64_t channels = array.size(layout == "nhwc" ? 3 : 1);
  if (channels > kMaxImageChannels) {
    fail(fmt::format(
        "has the shape {}, which as data.layout = \"{}\" makes {} channels; 1 to {} are "
        "possible",
        sizes, layout, channels, kMaxImageChannels));
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
  if (name != "auto") return *parsed_range(name);
  for (const char* likely : {"0_1", "-1_1", "0_255"}) {
    Range range = *parsed_range(likely);
    const double slack = 0.002 * (range.high - range.low);
    if (low >= range.low - slack && high <= range.high + slack) return range;
  }
  throw IoError(file, fmt::format("holds values from {0:.6g} to {1:.6g}, which are none of 0..1, "
                                  "-1..1 or 0..255; set data.range, as in \"{0:.6g}_{1:.6g}\": "
                                  "values outside are cut off",
                                  low, high));
}

// Levels of 0..255: uint8, or float32 if `deep`.
torch::Tensor to_levels(const torch::Tensor& image, const Range& range, bool deep) {
  const bool wide = image.scalar_type() == torch::kDouble || image.scalar_type() == torch::kLong;
  const double scale = 255.0 / (range.high - range.low);
  const torch::Tensor levels =
      image.to(wide ? torch::kDouble : torch::kFloat).sub(range.low).mul(scale);
  return deep ? levels.clamp(0, 255).to(torch::kFloat) : rounded_levels(levels);
}

// An array and the type of its file, which the tensor may have widened.
struct FileArray {
  torch::Tensor values;
  io::NpyHeader header;
};

FileArray read_array(const fs::path& file) {
  std::vector<uint8_t> beginning(kNpyHeaderBytes);
  const io::InputFile input(file);
  beginning.resize(std::min<uint64_t>(input.size(), beginning.size()));
  input.read_at(0, beginning);
  return {io::read_npy(file), io::parse_npy_header(beginning, file.string())};
}

FileArray read_array(std::vector<uint8_t> bytes, const std::string& name) {
  io::NpyHeader header = io::parse_npy_header(bytes, name);
  return {io::parse_npy(std::move(bytes), name), std::move(header)};
}

// Sets the images of an array whose values are not levels already.
void take_values_(ImageArray& result, const torch::Tensor& nchw, const Range& range, bool deep) {
  if (deep) result.pixel_type = torch::kFloat;
  result.image = [nchw, range, deep](int64_t i) {
    return to_levels(nchw[i], range, deep).contiguous();
  };
}

// A remark on uint16 values that use few of their 16 bits; "" if there is none.
std::string dark_remark(double high) {
  if (high > 16383) return "";
  int64_t white = 255;
  while (static_cast<double>(white) < high) white = 2 * white + 1;
  return fmt::format(
      "the values end at {:.0f} of 65535, so the images are dark; set data.range = \"0_{}\" if {} "
      "is white",
      high, white, white);
}

// Words or numbers with a range. Returns what they are.
std::string take_numbers_(ImageArray& result, const torch::Tensor& nchw, const std::string& type,
                          const std::string& range, const std::string& file, bool deep) {
  const auto [low, high] = extremes(nchw, file);
  const bool whole_words = type == "uint16" && range == "auto";
  const Range from = whole_words ? *parsed_range("0_65535") : range_of(range, low, high, file);
  if (const std::string remark = whole_words ? dark_remark(high) : ""; !remark.empty())
    result.remarks.push_back(remark);
  take_values_(result, nchw, from, deep);
  return fmt::format("{} of range {} ({:.4g} to {:.4g})", type, from.name, low, high);
}

// Sets the images, whose file has numbers of this type. Returns what they are.
std::string take_images_(ImageArray& result, const torch::Tensor& nchw, const std::string& type,
                         const std::string& range, const std::string& file, bool deep) {
  if (type == "uint8") {
    if (range != "auto" && range != "0_255") {
      throw IoError(file, fmt::format("holds bytes, 0..255, but data.range is \"{}\"; set it to "
                                      "\"auto\"",
                                      range));
    }
    result.image = [nchw](int64_t i) { return nchw[i].contiguous(); };
    return "bytes";
  }
  if (type == "bool") {
    result.image = [nchw](int64_t i) { return nchw[i].to(torch::kByte).mul(255).contiguous(); };
    return "booleans";
  }
  const bool floats = nchw.is_floating_point();
  if (floats || type == "uint16" || range != "auto")
    return take_numbers_(result, nchw, floats ? "floats" : type, range, file, deep);
  const auto [low, high] = extremes(nchw, file);
  throw IoError(file, fmt::format("holds {} values, {:.0f} to {:.0f}; images are uint8 (0..255), "
                                  "uint16 or floats: save it with .astype(\"uint8\"), or set "
                                  "data.range to black and white, as in \"0_4095\"",
                                  type, low, high));
}

// The images without their labels.
ImageArray images_in(FileArray array, const std::string& file, ArrayOptions options, bool deep) {
  ImageArray result;
  // In Fortran order every image is scattered over the whole file: copy once.
  if (array.values.dim() > 1 && array.values.stride(0) == 1)
    array.values = array.values.contiguous();
  const torch::Tensor nchw = as_nchw(array.values, file, options.layout);
  result.count = nchw.size(0);
  result.shape = {nchw.size(1), nchw.size(2), nchw.size(3)};
  const std::string values =
      take_images_(result, nchw, array.header.type_name(), options.range, file, deep);
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

std::string problem_of_array_range(const std::string& range) {
  if (range == "auto" || parsed_range(range)) return "";
  return fmt::format(
      "is \"{}\"; use \"auto\", or \"LOW_HIGH\" with the values of black and "
      "white, as in \"0_1\", \"-1_1\" or \"0_4095\"",
      range);
}

std::unique_ptr<Dataset> open_npy(const fs::path& file, const ArrayOptions& array,
                                  const ImageOptions& options) {
  expect_file(file, options.has_config);
  ImageArray result = images_in(read_array(file), file.string(), array, options.depth > 8);
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
    return read_array(archive.read(name + ".npy"), (file / (name + ".npy")).string());
  };
  ImageArray result =
      images_in(load(*images), (file / (*images + ".npy")).string(), array, options.depth > 8);
  result.files = {file};
  if (labels) {
    result.labels =
        labels_in(load(*labels).values, (file / (*labels + ".npy")).string(), result.count);
    result.classes =
        numbered_classes(*std::max_element(result.labels.begin(), result.labels.end()) + 1);
  }
  return open_array(std::move(result), options);
}

}  // namespace ddpm::data
