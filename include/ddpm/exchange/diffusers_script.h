#pragma once

#include "ddpm/exchange/model.h"

#include <string>

namespace ddpm::exchange {

/// Why diffusers' pipelines cannot sample from the model's diffusers folder, as text; "" if they
/// can. If they cannot, the folder has a sample.py.
std::string pipeline_obstacle(const Model& model);
/// That program, which samples the model's images in Python.
std::string sampling_script(const Model& model);

}  // namespace ddpm::exchange
