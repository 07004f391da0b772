#include "ddpm/cli/app.h"

#include <climits>
#include <cstdlib>

#include <malloc.h>

namespace {

// Each training step frees its activations and takes as much again: kept by the process, they need
// not be cleared and mapped anew by the kernel every time.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
}

// A thread of OpenMP that waits for others spins, by default for milliseconds. If another program uses
// one of the cores, the threads spin while the last one waits for its turn: a step takes ten times as
// long. After 10,000 rounds (tenths of a millisecond) they sleep instead. docs/performance.md has the
// measurements.
void wait_briefly(int, char**, char**) {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "10000", 0);
}

// libgomp reads the variable when it is loaded, before main; these functions run before that.
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**,
                                                                             char**) = wait_briefly;

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  return ddpm::cli::run(argc, argv);
}
