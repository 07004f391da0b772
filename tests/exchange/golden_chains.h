#pragma once

#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/safetensors.h"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::exchange {

/// A chain of one of diffusers' schedulers, from a golden file's metadata.
struct GoldenChain {
  std::string key;             ///< the tensor of its end
  nlohmann::json json;         ///< its scheduler_config.json
  SchedulerSettings settings;  ///< of that, with the steps of the chain
};

inline std::vector<GoldenChain> chains_of(const io::SafetensorsFile& golden) {
  std::vector<GoldenChain> all;
  for (const auto& [key, text] : golden.metadata()) {
    nlohmann::json json = nlohmann::json::parse(text);
    const int64_t steps = json.at("steps");
    json.erase("steps");
    all.push_back({key, json, parse_scheduler_config(json.dump(), text)});
    all.back().settings.sample.steps = steps;
  }
  return all;
}

}  // namespace ddpm::exchange
