#pragma once

#include "ddpm/io/safetensors.h"

#include <string>

#include <torch/types.h>

namespace ddpm::eval {

/// A file of scripts/make_eval_golden.py: "statistics", "decoder", "inception".
inline io::SafetensorsFile golden(const std::string& name) {
  return io::SafetensorsFile::open(DDPM_SOURCE_DIR "/tests/golden/eval_" + name + ".safetensors");
}

inline double number(const io::SafetensorsFile& file, const std::string& name) {
  return file.get(name).item<double>();
}

}  // namespace ddpm::eval
