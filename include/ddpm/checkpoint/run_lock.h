#pragma once

#include <filesystem>
#include <string>

namespace ddpm::checkpoint {

/// Locks a run's folder for this process, because two writers would destroy each other's
/// checkpoints. The kernel releases the lock when the process ends, so a lock is never stale.
class RunLock {
 public:
  /// Locks RUN/run.lock (or a file of another name); creates the file if it is missing. Throws
  /// IoError "is in use by process PID on HOST" if another process or another RunLock holds it.
  explicit RunLock(const std::filesystem::path& run, const std::string& name = "run.lock");
  ~RunLock();
  /// Throws the same error if another process holds the lock. Creates no file.
  static void expect_free(const std::filesystem::path& run);
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace ddpm::checkpoint
