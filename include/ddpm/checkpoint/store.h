#pragma once

#include "ddpm/checkpoint/manifest.h"
#include "ddpm/io/file.h"
#include "ddpm/io/safetensors.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// Checkpoints on disk. A published checkpoint is not lost, whenever the program or the machine
// stops. docs/checkpoints.md has the layout and the guarantees.

namespace ddpm::checkpoint {

/// Which checkpoints are kept: the newest `keep_last` (at least 1), and all steps divisible by
/// `keep_every` if it is not 0.
struct RetentionPolicy {
  int64_t keep_last = 3;
  int64_t keep_every = 0;
};

/// The result of reading a whole checkpoint.
struct Verification {
  std::string problem;  ///< "" if it is intact, else the file and its error
  int64_t step = -1;    ///< from the manifest, if it could be read
  std::vector<CheckpointFile> files;
  bool ok() const { return problem.empty(); }
};

/// Called for each damaged checkpoint that is skipped.
using DamageReport = std::function<void(const std::filesystem::path&, const std::string& problem)>;

class CheckpointStore;

/// A checkpoint being written. It is invisible until publish. Each call throws IoError if the disk
/// fails. The files are removed after an error, or if the draft is destroyed before publish.
class CheckpointDraft {
 public:
  CheckpointDraft(CheckpointDraft&& other) noexcept;
  CheckpointDraft& operator=(CheckpointDraft&&) = delete;
  ~CheckpointDraft();

  /// Writes and syncs one file (see io::write_safetensors). Reads the tensors only during the call.
  void add_tensors(const std::string& name, const std::vector<io::NamedTensor>& tensors,
                   const io::Metadata& metadata = {});
  void add_text(const std::string& name, std::string_view text);
  /// Publishes the files as the checkpoint of this step and returns its folder. All files must have
  /// been added. After the call the checkpoint survives a power failure.
  std::filesystem::path publish();

 private:
  friend class CheckpointStore;
  CheckpointDraft(CheckpointStore* store, int64_t step, std::filesystem::path folder);
  void add(const std::string& name, const std::function<void(io::OutputFile&)>& write);
  void discard() noexcept;

  CheckpointStore* store_;  // nullptr: published, failed or moved from
  int64_t step_;
  std::filesystem::path folder_;
  std::vector<CheckpointFile> files_;
};

/// The checkpoints of one run, in one folder. Independent of models. Only one process may write at
/// a time (RunLock); any number may read. It must outlive its drafts.
class CheckpointStore {
 public:
  /// `directory`: RUN/checkpoints. begin creates it if it is missing.
  explicit CheckpointStore(std::filesystem::path directory, RetentionPolicy policy = {});
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Starts the checkpoint of `step`. A damaged checkpoint of this step is replaced. Throws IoError
  /// if an intact one exists or the disk has too little free space for `expected_bytes`.
  CheckpointDraft begin(int64_t step, uint64_t expected_bytes = 0);

  /// The published steps, newest first. Does not verify them.
  std::vector<int64_t> steps() const;
  /// The folder of the published checkpoint of `step`.
  std::filesystem::path folder_of(int64_t step) const;
  /// Reads every byte of a checkpoint and compares it with the manifest. Does not throw.
  static Verification verify(const std::filesystem::path& checkpoint);
  /// The newest intact checkpoint. Reports each newer, damaged one.
  std::optional<std::filesystem::path> newest_valid(const DamageReport& report = {});

  /// Removes the files of interrupted writers. Only the process with the run's lock may call it.
  void clean();
  /// Removes every checkpoint after `step`. Logs a failure.
  void remove_after(int64_t step);
  /// Removes the checkpoints that the policy does not keep. Call it after publish. Damaged
  /// checkpoints do not count towards keep_last. Always keeps the last published checkpoint and the
  /// newest intact ones. Logs a failure; the next call tries again.
  void retain();

  const std::filesystem::path& directory() const { return directory_; }

  /// For tests: called for every system call that changes the disk; can make the call fail.
  io::SyscallHook on_syscall;

 private:
  friend class CheckpointDraft;
  bool is_valid(int64_t step);
  std::filesystem::path move_aside(int64_t step);
  void remove(const std::vector<int64_t>& steps);
  void remove_aside(const std::vector<std::filesystem::path>& folders);

  std::filesystem::path directory_;
  RetentionPolicy policy_;
  std::set<int64_t> known_valid_;  // written or verified by this object
  std::optional<int64_t> last_published_;
};

/// The folder of the run that a checkpoint's folder lies in (RUN/checkpoints/step-N or RUN/best); ""
/// if it lies elsewhere.
std::filesystem::path run_of(const std::filesystem::path& checkpoint);

/// Finds the checkpoint for a user's `path`, which is a checkpoint's folder, a run's folder or a
/// folder of runs. Selects the newest intact checkpoint of the run, or of the run that saved last.
/// Verifies the checkpoint. Throws IoError if there is none, or if `path` is a damaged checkpoint.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path,
                                         const DamageReport& report = {});

}  // namespace ddpm::checkpoint
