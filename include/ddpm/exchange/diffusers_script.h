#pragma once

#include "ddpm/exchange/model.h"

#include <string>

namespace ddpm::exchange {

/// Why neither of diffusers' pipelines can sample from the folder that write_diffusers_folder makes
/// of the model, for people; "" if they can. If they cannot, the folder has a sample.py.
std::string pipeline_obstacle(const Model& model);
/// That program: it samples the model's images in Python.
std::string sampling_script(const Model& model);

}  // namespace ddpm::exchange
