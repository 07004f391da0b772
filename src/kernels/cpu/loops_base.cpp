#include "loops_table.h"

namespace ddpm::kernels {

const CpuLoops* loops_base() { return &kLoops; }

}  // namespace ddpm::kernels
