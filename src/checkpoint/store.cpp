#include "ddpm/checkpoint/store.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <torch/types.h>
#include <unistd.h>

namespace ddpm::checkpoint {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-step-";
constexpr std::string_view kDoomedPrefix = ".del-step-";

std::string step_name(int64_t step) { return fmt::format("{}{:09}", kStepPrefix, step); }

std::optional<int64_t> parse_step_name(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  int64_t step = -1;
  std::from_chars(name.data() + kStepPrefix.size(), name.data() + name.size(), step);
  return step >= 0 && step_name(step) == name ? std::optional(step) : std::nullopt;
}

// The paths of the entries; empty if the folder is missing. Throws IoError if it cannot be listed:
// a run must not begin at step 0 because its checkpoints are temporarily unavailable.
std::vector<fs::path> list(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  const bool absent =
      error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  if (error && !absent) throw IoError(directory, fmt::format("cannot list: {}", error.message()));
  return entries;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::vector<int64_t> steps_in(const fs::path& directory) {
  std::vector<int64_t> steps;
  for (const fs::path& entry : list(directory)) {
    const std::optional<int64_t> step = parse_step_name(entry.filename().string());
    if (step && is_folder(entry)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

std::string problem_of_file(const fs::path& checkpoint, const CheckpointFile& file) {
  const fs::path path = checkpoint / file.name;
  if (!fs::exists(fs::symlink_status(path))) return fmt::format("{} is missing", file.name);
  // Compares the size first, so that a truncated file is not read.
  const uint64_t size = io::InputFile(path).size();
  if (size != file.sum.size) {
    return fmt::format("{} has {} bytes instead of {}", file.name, size, file.sum.size);
  }
  const uint32_t crc = io::file_sum(path).crc32c;
  if (crc == file.sum.crc32c) return "";
  return fmt::format("{} has checksum {:08x} instead of {:08x}", file.name, crc, file.sum.crc32c);
}

std::string problem_of(const fs::path& checkpoint, Verification* result) {
  const fs::path manifest_path = checkpoint / kManifestName;
  if (!fs::exists(manifest_path)) return fmt::format("{} is missing", kManifestName);
  Manifest manifest = parse_manifest(kManifestName, io::read_text(manifest_path));
  result->step = manifest.step;
  result->files = std::move(manifest.files);
  const std::optional<int64_t> named = parse_step_name(checkpoint.filename().string());
  if (named && *named != result->step) {
    return fmt::format("{} is that of step {}", kManifestName, result->step);
  }
  for (const CheckpointFile& file : result->files) {
    std::string problem = problem_of_file(checkpoint, file);
    if (!problem.empty()) return problem;
  }
  return "";
}

void expect_room(const fs::path& directory, uint64_t bytes) {
  const uint64_t available = io::free_space(directory);
  if (bytes <= available) return;
  throw IoError(directory,
                fmt::format("a checkpoint needs {}, but only {} are free; make room or keep "
                            "fewer checkpoints",
                            format_bytes(bytes), format_bytes(available)));
}

// Creates `directory`. Syncs its name in the run's folder, and the run's name in the folder of
// runs.
void make_directory(const fs::path& directory, const io::SyscallHook& hook) {
  if (is_folder(directory)) return;
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw IoError(directory, fmt::format("cannot create: {}", error.message()));
  const fs::path run = fs::absolute(directory).parent_path();
  io::sync_directory(run, hook);
  io::sync_directory(run.parent_path(), hook);
}

}  // namespace

CheckpointDraft::CheckpointDraft(CheckpointStore* store, int64_t step, fs::path folder)
    : store_(store), step_(step), folder_(std::move(folder)) {}

CheckpointDraft::CheckpointDraft(CheckpointDraft&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      step_(other.step_),
      folder_(std::move(other.folder_)),
      files_(std::move(other.files_)) {}

CheckpointDraft::~CheckpointDraft() { discard(); }

void CheckpointDraft::discard() noexcept {
  if (store_ == nullptr) return;
  store_ = nullptr;
  try {
    io::remove_tree(folder_);
  } catch (const std::exception& error) {
    spdlog::warn("{}; it will be removed when the run starts again", error.what());
  }
}

void CheckpointDraft::add(const std::string& name,
                          const std::function<void(io::OutputFile&)>& write) {
  TORCH_CHECK(store_ != nullptr, "the checkpoint is published or has failed");
  TORCH_CHECK(is_checkpoint_file_name(name), "'", name, "' cannot name a file of a checkpoint");
  TORCH_CHECK(std::none_of(files_.begin(), files_.end(),
                           [&](const CheckpointFile& file) { return file.name == name; }),
              "'", name, "' is in the checkpoint already");
  try {
    io::OutputFile file(folder_ / name, store_->on_syscall);
    write(file);
    files_.push_back({name, file.finish()});
  } catch (...) {
    discard();
    throw;
  }
}

void CheckpointDraft::add_tensors(const std::string& name,
                                  const std::vector<io::NamedTensor>& tensors,
                                  const io::Metadata& metadata) {
  add(name, [&](io::OutputFile& file) {
    uint64_t bytes = 0;
    for (const io::NamedTensor& entry : tensors) bytes += entry.tensor.nbytes();
    expect_room(folder_, bytes);
    io::write_safetensors(file, tensors, metadata);
  });
}

void CheckpointDraft::add_text(const std::string& name, std::string_view text) {
  add(name, [&](io::OutputFile& file) { file.write(text); });
}

fs::path CheckpointDraft::publish() {
  TORCH_CHECK(store_ != nullptr, "the checkpoint is published or has failed");
  try {
    const io::SyscallHook& hook = store_->on_syscall;
    const fs::path target = store_->folder_of(step_);
    // 1. All content and the names of the files are on the disk before the checkpoint is renamed.
    io::write_file_synced(folder_ / kManifestName, to_text({step_, files_}), hook);
    io::sync_directory(folder_, hook);
    // 2. A damaged checkpoint of this step is moved aside. (If it is intact, begin has thrown.)
    const bool replaces = fs::exists(fs::symlink_status(target));
    const fs::path damaged = replaces ? store_->move_aside(step_) : fs::path();
    // 3. One rename publishes the checkpoint. Syncing the folder makes the name durable.
    io::rename_path(folder_, target, hook);
    io::sync_directory(store_->directory_, hook);
    store_->known_valid_.insert(step_);
    store_->last_published_ = step_;
    CheckpointStore* const store = std::exchange(store_, nullptr);
    if (!damaged.empty()) store->remove_aside({damaged});
    return target;
  } catch (...) {
    discard();
    throw;
  }
}

CheckpointStore::CheckpointStore(fs::path directory, RetentionPolicy policy)
    : directory_(std::move(directory)), policy_(policy) {
  TORCH_CHECK(policy_.keep_last >= 1, "keep_last is ", policy_.keep_last, ", must be at least 1");
  TORCH_CHECK(policy_.keep_every >= 0, "keep_every is ", policy_.keep_every,
              ", must not be negative");
}

CheckpointDraft CheckpointStore::begin(int64_t step, uint64_t expected_bytes) {
  TORCH_CHECK(step >= 0, "step is ", step, ", must not be negative");
  make_directory(directory_, on_syscall);
  const fs::path target = folder_of(step);
  if (is_folder(target) && verify(target).ok()) {
    throw IoError(target,
                  "exists already, and checkpoints are never overwritten; remove it, or resume "
                  "from the newest checkpoint");
  }
  known_valid_.erase(step);
  expect_room(directory_, expected_bytes);
  const fs::path folder =
      directory_ / fmt::format(".tmp-{}-{}", step_name(step), static_cast<int64_t>(::getpid()));
  io::remove_tree(folder, on_syscall);  // left by an earlier process with the same PID
  io::checked_syscall("mkdir", folder, on_syscall, [&] { return ::mkdir(folder.c_str(), 0777); });
  return CheckpointDraft(this, step, folder);
}

std::vector<int64_t> CheckpointStore::steps() const { return steps_in(directory_); }

fs::path CheckpointStore::folder_of(int64_t step) const { return directory_ / step_name(step); }

Verification CheckpointStore::verify(const fs::path& checkpoint) {
  Verification result;
  try {
    result.problem = problem_of(checkpoint, &result);
  } catch (const std::exception& error) {
    result.problem = error.what();
  }
  return result;
}

std::optional<fs::path> CheckpointStore::newest_valid(const DamageReport& report) {
  for (const int64_t step : steps()) {
    const Verification verification = verify(folder_of(step));
    if (verification.ok()) {
      known_valid_.insert(step);
      return folder_of(step);
    }
    known_valid_.erase(step);
    if (report) report(folder_of(step), verification.problem);
  }
  return std::nullopt;
}

bool CheckpointStore::is_valid(int64_t step) {
  if (known_valid_.contains(step)) return true;
  const bool valid = verify(folder_of(step)).ok();
  if (valid) known_valid_.insert(step);
  return valid;
}

fs::path CheckpointStore::move_aside(int64_t step) {
  const fs::path doomed =
      directory_ / fmt::format(".del-{}-{}", step_name(step), static_cast<int64_t>(::getpid()));
  io::remove_tree(doomed, on_syscall);
  io::rename_path(folder_of(step), doomed, on_syscall);
  known_valid_.erase(step);
  return doomed;
}

void CheckpointStore::remove_aside(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    try {
      io::remove_tree(folder, on_syscall);
    } catch (const IoError& error) {
      spdlog::warn("a leftover was not removed: {}", error.what());
    }
  }
}

void CheckpointStore::remove(const std::vector<int64_t>& steps) {
  if (steps.empty()) return;
  try {
    std::vector<fs::path> doomed;
    for (const int64_t step : steps) doomed.push_back(move_aside(step));
    // Sync first: after a power failure no half-deleted checkpoint may have its old name.
    io::sync_directory(directory_, on_syscall);
    remove_aside(doomed);
  } catch (const IoError& error) {
    spdlog::warn("an old checkpoint was not removed: {}", error.what());
  }
}

void CheckpointStore::clean() {
  std::vector<fs::path> leftovers;
  for (const fs::path& entry : list(directory_)) {
    const std::string name = entry.filename().string();
    if (name.starts_with(kTemporaryPrefix) || name.starts_with(kDoomedPrefix))
      leftovers.push_back(entry);
  }
  remove_aside(leftovers);
}

void CheckpointStore::remove_after(int64_t step) {
  std::vector<int64_t> later = steps();  // newest first, so that no gap can remain
  std::erase_if(later, [&](int64_t s) { return s <= step; });
  remove(later);
}

void CheckpointStore::retain() {
  std::vector<int64_t> doomed;
  int64_t kept = 0;
  for (const int64_t step : steps()) {
    if (kept < policy_.keep_last) {
      kept += is_valid(step) ? 1 : 0;
      continue;
    }
    const bool milestone = policy_.keep_every > 0 && step % policy_.keep_every == 0;
    if (!milestone && step != last_published_) doomed.push_back(step);
  }
  std::reverse(doomed.begin(), doomed.end());  // oldest first
  remove(doomed);
}

namespace {

constexpr const char* kFolderName = "checkpoints";

fs::path newest_in(const fs::path& directory, const DamageReport& report) {
  std::string damage;
  CheckpointStore store(directory);
  const auto newest = store.newest_valid([&](const fs::path& path, const std::string& problem) {
    if (damage.empty()) damage = fmt::format("{}: {}", path.filename().string(), problem);
    if (report) report(path, problem);
  });
  if (newest) return *newest;
  throw IoError(directory, damage.empty()
                               ? "holds no checkpoint"
                               : "holds no intact checkpoint; the newest is damaged, " + damage);
}

// The folder "checkpoints" of the run below `root` that saved last; empty if no run has saved.
std::optional<fs::path> latest_run(const fs::path& root) {
  std::optional<fs::path> latest;
  fs::file_time_type latest_time;
  for (const fs::path& run : list(root)) {
    const fs::path directory = run / kFolderName;
    const std::vector<int64_t> steps = steps_in(directory);
    if (steps.empty()) continue;
    std::error_code error;
    const fs::file_time_type time =
        fs::last_write_time(directory / step_name(steps.front()), error);
    if (error || (latest && time <= latest_time)) continue;
    latest = directory;
    latest_time = time;
  }
  return latest;
}

}  // namespace

fs::path run_of(const fs::path& checkpoint) {
  const fs::path parent = checkpoint.parent_path();
  if (parent.filename() == kFolderName) return parent.parent_path();
  const bool best = checkpoint.filename() == "best" && fs::exists(parent / kFolderName);
  return best ? parent : fs::path();
}

fs::path resolve_checkpoint(const fs::path& path, const DamageReport& report) {
  // "runs/a/" has no last component and "." has no name. Both become the folder's own path.
  fs::path folder = path.lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) throw IoError(path, "does not exist");
  if (!is_folder(folder)) {
    throw IoError(path,
                  "is not a folder; name a checkpoint's folder, a run's or the folder of runs");
  }
  if (fs::exists(folder / kManifestName, ignored) || parse_step_name(folder.filename().string())) {
    const Verification verification = CheckpointStore::verify(folder);
    if (!verification.ok()) throw IoError(path, "is damaged: " + verification.problem);
    return folder;
  }
  if (is_folder(folder / kFolderName)) return newest_in(folder / kFolderName, report);
  if (!steps_in(folder).empty()) return newest_in(folder, report);
  if (const std::optional<fs::path> run = latest_run(folder)) return newest_in(*run, report);
  throw IoError(path, "holds no checkpoint, neither of a run nor of runs below it");
}

}  // namespace ddpm::checkpoint
