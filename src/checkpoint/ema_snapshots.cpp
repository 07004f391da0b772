#include "ddpm/checkpoint/averages.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/io/file.h"
#include "ddpm/nn/model_file.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/utils.h>

namespace ddpm::checkpoint {

namespace fs = std::filesystem;

namespace {

// A folder with the same files, which never change: hard links, or copies on another file system.
void link_folder(const fs::path& from, const fs::path& to) {
  io::write_folder_atomic(to, [&](const fs::path& folder) {
    for (const fs::directory_entry& file : fs::directory_iterator(from)) {
      std::error_code no_links;
      fs::create_hard_link(file.path(), folder / file.path().filename(), no_links);
      if (no_links) fs::copy_file(file.path(), folder / file.path().filename());
    }
  });
}

// The snapshots of the run of `checkpoint`, up to `step`.
void adopt_snapshots(const CheckpointStore& store, const fs::path& checkpoint, int64_t step) {
  const fs::path beside = snapshots_beside(checkpoint);
  if (beside.empty() ||
      fs::weakly_canonical(beside) == fs::weakly_canonical(fs::absolute(store.directory())))
    return;
  const CheckpointStore former(beside);
  int64_t adopted = 0;
  for (const int64_t s : former.steps()) {
    if (s > step || fs::exists(store.folder_of(s))) continue;
    io::make_folder(store.directory());
    link_folder(former.folder_of(s), store.folder_of(s));
    ++adopted;
  }
  if (adopted > 0)
    spdlog::info("{} EMA snapshots up to step {} are taken from {}", adopted, step,
                 beside.parent_path().string());
}

}  // namespace

fs::path snapshots_of(const fs::path& run) { return run / "ema_snapshots"; }

fs::path snapshots_beside(const fs::path& checkpoint) {
  // run_of needs the names of the folders above, which "." or "step-000001000" alone lack.
  fs::path folder = fs::absolute(checkpoint).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const fs::path run = run_of(folder);
  return run.empty() ? run : snapshots_of(run);
}

torch::Tensor stored_tensor(const torch::Tensor& average) {
  const torch::Tensor half = average.detach().to(torch::kHalf).cpu();
  if (half.isfinite().all().item<bool>()) return half.contiguous();
  return average.detach().to(torch::kFloat).cpu().contiguous();
}

void write_snapshot(CheckpointStore& store, const nn::UNetImpl& unet, const EmaSnapshot& snapshot) {
  uint64_t bytes = 0;
  for (const auto& average : snapshot.averages)
    for (const torch::Tensor& tensor : average) bytes += tensor.nbytes();
  CheckpointDraft draft = store.begin(snapshot.step, bytes);
  for (size_t i = 0; i < snapshot.averages.size(); ++i) {
    const double length = snapshot.lengths.at(i);
    draft.add_tensors(power_name(length) + ".safetensors",
                      nn::named_weights(unet, snapshot.averages[i]),
                      {{"format", "pt"},
                       {"step", fmt::format("{}", snapshot.step)},
                       {"length", fmt::format("{}", length)}});
  }
  draft.publish();
}

void continue_snapshots(CheckpointStore& store, const fs::path& checkpoint, int64_t step) {
  store.clean();
  store.remove_after(step);
  try {
    if (!checkpoint.empty()) adopt_snapshots(store, checkpoint, step);
  } catch (const fs::filesystem_error& error) {
    throw IoError(store.directory(), fmt::format("cannot be written: {}", error.code().message()));
  }
}

}  // namespace ddpm::checkpoint
