#include "ddpm/cli/app.h"

#include <climits>

#include <malloc.h>

namespace {

// Each training step frees its activations and takes as much again: kept by the process, they need
// not be cleared and mapped anew by the kernel every time.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc allows
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  return ddpm::cli::run(argc, argv);
}
