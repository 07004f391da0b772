#include "ddpm/data/statistics.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/data/transform.h"
#include "parallel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

#include <torch/types.h>

namespace ddpm::data {
namespace {

void add(ValueCounts& sum, const ValueCounts& part) {
  for (size_t value = 0; value < sum.counts.size(); ++value)
    sum.counts[value] += part.counts[value];
}

// Statistics of one thread.
struct Share {
  int64_t images = 0;
  std::vector<ValueCounts> channels;
  std::vector<int64_t> class_counts;
  int64_t unlabelled = 0;
  std::map<int64_t, std::string> bad;  // by the image's index

  void take(const Example& example) {
    ++images;
    const torch::Tensor image = rounded_levels(example.image).contiguous();
    const int64_t plane = image.size(1) * image.size(2);
    const uint8_t* pixels = image.data_ptr<uint8_t>();
    for (ValueCounts& channel : channels) {
      for (const uint8_t* end = pixels + plane; pixels != end; ++pixels) ++channel.counts[*pixels];
    }
    if (example.label < 0) {
      ++unlabelled;
    } else {
      ++class_counts.at(example.label);
    }
  }
};

}  // namespace

int64_t ValueCounts::total() const {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

double ValueCounts::mean() const {
  int64_t sum = 0;  // 2^63 / 255: enough for 3e16 pixels
  for (size_t value = 0; value < counts.size(); ++value) {
    sum += static_cast<int64_t>(value) * counts[value];
  }
  return static_cast<double>(sum) / static_cast<double>(total());
}

double ValueCounts::deviation() const {
  const double centre = mean();
  double sum = 0;
  for (size_t value = 0; value < counts.size(); ++value) {
    const double distance = static_cast<double>(value) - centre;
    sum += distance * distance * static_cast<double>(counts[value]);
  }
  return std::sqrt(sum / static_cast<double>(total()));
}

int ValueCounts::lowest() const {
  const auto present = [](int64_t count) { return count > 0; };
  return static_cast<int>(std::find_if(counts.begin(), counts.end(), present) - counts.begin());
}

int ValueCounts::highest() const {
  int value = 255;
  while (value > 0 && counts[value] == 0) --value;
  return value;
}

ValueCounts Statistics::all_channels() const {
  ValueCounts sum;
  for (const ValueCounts& channel : channels) add(sum, channel);
  return sum;
}

std::vector<int64_t> spread_indices(int64_t size, int64_t count) {
  count = std::min(count, size);
  std::vector<int64_t> indices;
  // Not i * size / count, which overflows if both are large.
  for (int64_t i = 0; i < count; ++i) {
    indices.push_back(i * (size / count) + i * (size % count) / count);
  }
  return indices;
}

Statistics measure(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t workers) {
  Share empty;
  empty.channels.resize(dataset.shape().channels);
  empty.class_counts.resize(dataset.class_count());
  std::vector<Share> shares(workers, empty);
  const auto start = std::chrono::steady_clock::now();
  parallel_for(static_cast<int64_t>(indices.size()), workers, "reading images",
               [&](int64_t worker, int64_t i) {
                 try {
                   shares[worker].take(dataset.get(indices[i]));
                 } catch (const IoError& error) {
                   shares[worker].bad[indices[i]] = error.what();
                 }
               });

  Statistics result;
  result.seconds = seconds_since(start);
  result.channels = empty.channels;
  result.class_counts = empty.class_counts;
  std::map<int64_t, std::string> bad;
  for (const Share& share : shares) {
    result.images += share.images;
    result.unlabelled += share.unlabelled;
    for (size_t c = 0; c < share.channels.size(); ++c) add(result.channels[c], share.channels[c]);
    for (size_t k = 0; k < share.class_counts.size(); ++k)
      result.class_counts[k] += share.class_counts[k];
    bad.insert(share.bad.begin(), share.bad.end());
  }
  for (const auto& [index, message] : bad) result.bad.push_back(message);
  return result;
}

std::vector<int64_t> histogram(const ValueCounts& values, int64_t bins) {
  TORCH_CHECK(bins > 0 && 256 % bins == 0, bins, " bins do not divide 256 values");
  std::vector<int64_t> sums(bins, 0);
  for (int64_t value = 0; value < 256; ++value) sums[value * bins / 256] += values.counts[value];
  return sums;
}

}  // namespace ddpm::data
