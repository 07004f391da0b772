#include "doctor_probes.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/base/text.h"
#include "ddpm/bench/benchmark.h"
#include "ddpm/data/statistics.h"
#include "ddpm/io/file.h"
#include "ddpm/train/learner.h"

#include <algorithm>
#include <chrono>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace ddpm::bench {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr uint64_t kPiece = 4'000'000, kFileSize = 16 * kPiece;
constexpr double kDiskPatience = 5.0, kDataPatience = 3.0, kStepPatience = 6.0;  // seconds
constexpr double kSlowCall = 1.0;  // seconds; a working CPU takes a hundredth to a fifth

// Bytes that no file system can compress or share.
std::vector<uint8_t> noise(uint64_t size) {
  std::vector<uint8_t> bytes(size);
  RngStream random(RngKey{}, 0);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.word());
  return bytes;
}

// Lets the next read come from the disk, if the file system supports that.
void forget_pages_of(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

// Images per second, one thread. Throws IoError.
struct DataRate {
  int64_t images = 0;
  double seconds = 0;
};
DataRate read_images(const data::Dataset& dataset) {
  constexpr int64_t kMaxImages = 5000;
  DataRate rate;
  const auto begin = SteadyClock::now();
  for (const int64_t index : data::spread_indices(dataset.size(), kMaxImages)) {
    dataset.get(index);
    ++rate.images;
    rate.seconds = seconds_since(begin);
    if (rate.seconds > kDataPatience) break;
  }
  return rate;
}

// A network that a CPU trains at several steps a second.
constexpr const char* kSmallTraining = R"(
[data]
kind = "procedural"
size = 256
image_size = 16
channels = 3
[model]
channels = 64
channel_multipliers = [1, 2]
blocks = 1
attention_resolutions = [8]
[train]
batch_size = 8
precision = "auto"
)";

struct SmallTraining {
  config::Document document = config::Document::parse(kSmallTraining, "the test network");
  train::Experiment experiment;
  data::Split data;

  explicit SmallTraining(const torch::Device& device) {
    if (device.is_cuda()) document.set("train.batch_size=128");
    experiment = train::read_experiment(document);
    train::resolve_precision(experiment, device);
    data = train::open_data(experiment, document);
    train::resolve_unet(experiment, document, *data.training);
  }
};

// One network call, for a machine on which steps would take minutes.
Report measure_one_call(const SmallTraining& small, const torch::Device& device) {
  Options options;
  options.parts = {"forward"};
  options.warm_up = 0;
  options.repeats = 1;
  return run(small.experiment, small.data, device, options);
}

// First one run of each part, which tells how many fit into the time.
Report measure_speed(const SmallTraining& small, const torch::Device& device) {
  Options options;
  options.parts = {"train", "forward"};
  options.warm_up = device.is_cuda() ? 6 : 1;  // a GPU captures its graphs
  options.repeats = 1;
  const auto begin = SteadyClock::now();
  run(small.experiment, small.data, device, options);
  const double once = seconds_since(begin) / static_cast<double>(options.warm_up + 1);
  options.repeats = std::clamp<int64_t>(static_cast<int64_t>(kStepPatience / once), 3, 15);
  return run(small.experiment, small.data, device, options);
}

Finding judge_part(const Report& report, const std::string& name, const std::string& check,
                   const std::string& convolutions, double expected) {
  const Part& part = *report.find(name);
  return judge_speed(
      {.check = check,
       .seconds = part.times.median(),
       .conv_seconds = report.find(convolutions)->times.median(),
       .share = report.share(part).value(),
       .spread = part.times.spread(),
       .what = fmt::format("{} images, {} on {}", report.batch, report.precision, report.device)},
      expected);
}

// Every tensor of a checkpoint, in one list.
std::vector<torch::Tensor> all_of(const checkpoint::TrainingTensors& t) {
  std::vector<torch::Tensor> all{t.updates};
  const auto add = [&](const std::vector<torch::Tensor>& list) {
    all.insert(all.end(), list.begin(), list.end());
  };
  add(t.weights);
  for (const auto& average : t.averages) add(average);
  for (const auto& average : t.power_averages) add(average);
  add(t.first_moments);
  add(t.second_moments);
  for (const io::NamedTensor& extra : t.extras) all.push_back(extra.tensor);
  return all;
}

bool same(const checkpoint::TrainingTensors& a, const checkpoint::TrainingTensors& b) {
  const auto left = all_of(a), right = all_of(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const torch::Tensor& x, const torch::Tensor& y) { return x.equal(y); });
}

}  // namespace

Finding from_message(const std::string& check, Health health, const std::string& message) {
  const size_t end = std::min(message.find("; "), message.size());
  return {check, health, message.substr(0, end),
          end == message.size() ? "" : message.substr(end + 2)};
}

DiskRates measure_disk(const fs::path& folder) {
  const fs::path file = folder / "disk-test";
  const std::vector<uint8_t> piece = noise(kPiece);
  DiskRates rates;
  rates.free = io::free_space(folder);
  auto begin = SteadyClock::now();
  io::OutputFile out(file);
  while (rates.bytes < kFileSize && seconds_since(begin) < kDiskPatience) {
    out.write(piece);
    rates.bytes += piece.size();
  }
  out.finish();
  rates.write = static_cast<double>(rates.bytes) / seconds_since(begin);

  forget_pages_of(file);
  const io::InputFile in(file);
  std::vector<uint8_t> read(kPiece);
  begin = SteadyClock::now();
  uint64_t done = 0;
  for (; done < rates.bytes && seconds_since(begin) < kDiskPatience; done += kPiece) {
    in.read_at(done, read);
    if (read != piece) throw IoError(file, "what was read differs from what was written");
  }
  rates.read = static_cast<double>(done) / seconds_since(begin);
  return rates;
}

Finding check_data(const fs::path& path) {
  constexpr double kSlow = 100;  // images per second
  const std::string check = "data";
  if (path.empty()) return {check, Health::kOk, "not read; --data PATH reads a data set", ""};
  try {
    data::DataConfig config;
    config.path = path;
    config.image_size = data::ImageSize{32, 32};
    config.on_bad_image = data::BadImages::kSkipByHeader;
    config.has_config = false;
    const auto dataset = data::open_dataset(config, 0);
    const DataRate rate = read_images(*dataset);
    const double per_s = static_cast<double>(rate.images) / std::max(rate.seconds, 1e-9);
    const std::string found =
        fmt::format("{}: {}; {:.0f} images/s in one thread (of {})", path.string(),
                    counted(dataset->size(), "image"), per_s, data::DataConfig{}.workers);
    if (!dataset->skipped().empty()) {
      return {check, Health::kWarning,
              fmt::format("{}; {} cannot be read", found,
                          counted(std::ssize(dataset->skipped()), "file")),
              "ddpm data lists them; data.on_bad_image = \"skip\" leaves them out"};
    }
    if (per_s >= kSlow) return {check, Health::kOk, found, ""};
    return {check, Health::kWarning, found,
            "raise data.workers; keep data.cache_mb above the decoded size; or store smaller "
            "images on a local disk"};
  } catch (const Error& error) {
    return from_message(check, Health::kProblem, error.what());
  }
}

std::vector<Finding> check_speed(const torch::Device& device) {
  // The least shares of the convolutions' rate on a machine that works. With AMX, AVX-512 and plain
  // code they were 0.57 to 0.93 for a step and 0.42 to 0.91 for a call. A GPU waits for launches.
  const double of_step = device.is_cpu() ? 0.5 : 0.2, of_call = device.is_cpu() ? 0.33 : 0.2;
  const SmallTraining small(device);
  const double call_s = measure_one_call(small, device).find("forward")->times.median();
  if (call_s > kSlowCall) {
    return {{"network call", Health::kWarning,
             fmt::format("{} for {} images of 16x16: too slow to measure a training step",
                         format_duration(call_s), small.experiment.train.batch_size),
             "end other programs, or set OMP_NUM_THREADS=1: threads that wait for a busy core cost "
             "more than they gain"}};
  }
  const Report report = measure_speed(small, device);
  const Part& convolutions = *report.find("conv_forward");
  return {{"convolutions", Health::kOk,
           fmt::format("{:.0f} GFLOP/s, {} on {}, {}", convolutions.gflops(), report.precision,
                       report.device, counted(report.threads, "CPU thread")),
           ""},
          judge_part(report, "train", "training step", "conv", of_step),
          judge_part(report, "forward", "network call", "conv_forward", of_call)};
}

Finding check_checkpoint(const torch::Device& device, const fs::path& folder) {
  const std::string check = "checkpoint";
  const SmallTraining small(device);
  train::Learner learner(small.experiment, device);
  learner.begin_();
  const checkpoint::TrainingTensors written = learner.snapshot();
  checkpoint::TrainingState state;
  state.ema_decays = small.experiment.ema.decays;
  state.power_lengths = small.experiment.ema.power_lengths;
  checkpoint::CheckpointStore store(folder / "checkpoints");
  const auto begin = SteadyClock::now();
  const fs::path place = checkpoint::write_checkpoint(
      store, checkpoint::checkpoint_content(*learner.unet(), written, state, "", ""));
  const double seconds = seconds_since(begin);
  const checkpoint::Verification verified = checkpoint::CheckpointStore::verify(place);
  if (!verified.ok()) return from_message(check, Health::kProblem, verified.problem);
  const checkpoint::TrainingTensors read = learner.empty_tensors();
  checkpoint::read_checkpoint(place, *learner.unet(), small.experiment.ema, read);
  uint64_t bytes = 0;
  for (const checkpoint::CheckpointFile& file : verified.files) bytes += file.sum.size;
  const std::string found =
      fmt::format("{} written in {} and read back", format_bytes(bytes), format_duration(seconds));
  if (same(written, read)) return {check, Health::kOk, found + ": the same bits", ""};
  return {check, Health::kProblem, found + ": other bits",
          "check the disk and the memory of this machine before you train"};
}

}  // namespace ddpm::bench
