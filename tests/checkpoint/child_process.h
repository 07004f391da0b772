#pragma once

#include <functional>

#include <sys/wait.h>
#include <unistd.h>

namespace ddpm {

/// Runs `action` in a child process, which ends with its result, or 99 where it throws. Returns the
/// child's number. The action may use small tensors only: threads do not survive a fork.
inline pid_t start_child(const std::function<int()>& action) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 99;
  try {
    status = action();
  } catch (...) {
  }
  ::_exit(status);
}

/// Waits for the child's end. Returns its exit status, or minus the signal that killed it.
inline int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

inline int run_in_child(const std::function<int()>& action) {
  return wait_for(start_child(action));
}

}  // namespace ddpm
