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

// Checkpoints on disk, so that one can stop the program or the machine at any moment and lose none
// that was published. The layout and what is guaranteed: docs/checkpoints.md.

namespace ddpm::checkpoint {

/// Which checkpoints stay: the newest `keep_last` (at least 1) and every step divisible by
/// `keep_every` (0: none for that reason).
struct RetentionPolicy {
  int64_t keep_last = 3;
  int64_t keep_every = 0;
};

/// What reading a whole checkpoint found.
struct Verification {
  std::string problem;  ///< "" where it is intact; else the file and what is wrong with it
  int64_t step = -1;    ///< of the manifest, where that could be read
  std::vector<CheckpointFile> files;
  bool ok() const { return problem.empty(); }
};

/// Told of each damaged checkpoint that is passed over.
using DamageReport = std::function<void(const std::filesystem::path&, const std::string& problem)>;

class CheckpointStore;

/// A checkpoint being written, invisible until publish. Each call throws IoError where the disk
/// refuses; then, and where a draft goes out of scope unpublished, what was written is removed.
class CheckpointDraft {
 public:
  CheckpointDraft(CheckpointDraft&& other) noexcept;
  CheckpointDraft& operator=(CheckpointDraft&&) = delete;
  ~CheckpointDraft();

  /// Writes and syncs one file, see io::write_safetensors. The tensors are read during the call
  /// only.
  void add_tensors(const std::string& name, const std::vector<io::NamedTensor>& tensors,
                   const io::Metadata& metadata = {});
  void add_text(const std::string& name, std::string_view text);
  /// Makes the files, which must be all there are, the checkpoint of this step, and returns its
  /// folder. When it returns, the checkpoint survives a power failure.
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

/// The checkpoints of one run, in a folder of their own. It knows nothing of models. Only one
/// process may write to it at a time (RunLock); any number may read. It must outlive its drafts.
class CheckpointStore {
 public:
  /// `directory`: RUN/checkpoints; made by begin where it is missing.
  explicit CheckpointStore(std::filesystem::path directory, RetentionPolicy policy = {});
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Starts the checkpoint of `step`, which must not exist; a damaged one is replaced. Throws
  /// IoError where the disk has not room for `expected_bytes`.
  CheckpointDraft begin(int64_t step, uint64_t expected_bytes = 0);

  /// The published steps, newest first, unverified.
  std::vector<int64_t> steps() const;
  /// Where the checkpoint of `step` lies once it is published.
  std::filesystem::path folder_of(int64_t step) const;
  /// Reads every byte of a checkpoint and compares it with its manifest. Throws nothing.
  static Verification verify(const std::filesystem::path& checkpoint);
  /// The newest intact checkpoint. Each newer, damaged one is reported.
  std::optional<std::filesystem::path> newest_valid(const DamageReport& report = {});

  /// Removes what interrupted writers left. Only for the process that holds the run's lock.
  void clean();
  /// Removes what the policy does not keep; to be called after publish. Damaged checkpoints do not
  /// count towards keep_last, and the last one published and the newest intact ones always stay. A
  /// failure is logged and left for the next call: it endangers no checkpoint.
  void retain();

  const std::filesystem::path& directory() const { return directory_; }

  /// For tests: sees, and may fail, every system call that changes the disk.
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

/// The checkpoint that a user means by `path`: a checkpoint's folder; a run's folder (its newest
/// intact checkpoint); a folder of runs (that of the run which saved last). The checkpoint is
/// verified. Throws IoError where there is none, or where a checkpoint named by itself is damaged.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path,
                                         const DamageReport& report = {});

}  // namespace ddpm::checkpoint
