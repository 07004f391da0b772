#pragma once

#include "ddpm/exchange/model.h"

#include <string>

namespace ddpm::exchange {

/// Why diffusers' pipelines cannot sample from the model's diffusers folder; "" if they can. If
/// they cannot, the folder contains a sample.py.
std::string pipeline_obstacle(const Model& model);
/// The text of sample.py, which samples images of the model in Python.
std::string sampling_script(const Model& model);

}  // namespace ddpm::exchange
