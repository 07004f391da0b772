// What libFuzzer calls (https://llvm.org/docs/LibFuzzer.html).
#include "fuzz.h"

#include <torch/utils.h>

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  torch::set_num_threads(1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ddpm::fuzz::run({data, size});
  return 0;
}
