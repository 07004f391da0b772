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

// Checkpoints on disk. The program or the machine may stop at any moment without losing a published
// one. docs/checkpoints.md has the layout and the guarantees.

namespace ddpm::checkpoint {

/// Which checkpoints are kept: the newest `keep_last` (at least 1) and every step divisible by
/// `keep_every` (0: none for that reason).
struct RetentionPolicy {
  int64_t keep_last = 3;
  int64_t keep_every = 0;
};

/// The result of reading a whole checkpoint.
struct Verification {
  std::string problem;  ///< "" if it is intact, else the file and its fault
  int64_t step = -1;    ///< of the manifest, if that could be read
  std::vector<CheckpointFile> files;
  bool ok() const { return problem.empty(); }
};

/// Called for each damaged checkpoint that is skipped.
using DamageReport = std::function<void(const std::filesystem::path&, const std::string& problem)>;

class CheckpointStore;

/// A checkpoint being written, invisible until publish. Each call throws IoError if the disk fails.
/// Then, or if a draft goes out of scope unpublished, its files are removed.
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
  /// Publishes the files, which must be complete, as the checkpoint of this step, and returns its
  /// folder. From then on the checkpoint survives a power failure.
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

/// The checkpoints of one run, in a folder of their own. It does not depend on models. Only one
/// process may write to it at a time (RunLock); any number may read. It must outlive its drafts.
class CheckpointStore {
 public:
  /// `directory`: RUN/checkpoints; made by begin if it is missing.
  explicit CheckpointStore(std::filesystem::path directory, RetentionPolicy policy = {});
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Starts the checkpoint of `step`, which must not exist; a damaged one is replaced. Throws
  /// IoError if the disk has no room for `expected_bytes`.
  CheckpointDraft begin(int64_t step, uint64_t expected_bytes = 0);

  /// The published steps, newest first, unverified.
  std::vector<int64_t> steps() const;
  /// The folder of the checkpoint of `step`, after it is published.
  std::filesystem::path folder_of(int64_t step) const;
  /// Reads every byte of a checkpoint and compares it with its manifest. Throws nothing.
  static Verification verify(const std::filesystem::path& checkpoint);
  /// The newest intact checkpoint. Each newer, damaged one is reported.
  std::optional<std::filesystem::path> newest_valid(const DamageReport& report = {});

  /// Removes the files of interrupted writers. Only for the process that holds the run's lock.
  void clean();
  /// Removes the checkpoints that the policy does not keep; call it after publish. Damaged
  /// checkpoints do not count towards keep_last. The last published one and the newest intact ones
  /// are always kept. A failure is logged; the next call tries again.
  void retain();

  const std::filesystem::path& directory() const { return directory_; }

  /// For tests: is called for every system call that changes the disk, and can make it fail.
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

/// The checkpoint for a user's `path`: a checkpoint's folder; a run's folder (its newest intact
/// checkpoint); or a folder of runs (that of the run which saved last). The checkpoint is verified.
/// Throws IoError if there is none, or if `path` is a damaged checkpoint.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path,
                                         const DamageReport& report = {});

}  // namespace ddpm::checkpoint
