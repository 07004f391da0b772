#include "ddpm/pipeline/fit_file.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/bespoke_fit.h"
#include "ddpm/sample/sample_config.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Throws nlohmann's exceptions, or Error for another checksum or key.
std::vector<sample::BespokeStep> parsed_fit(const std::string& text, const Json& key) {
  Json json = io::parsed_json(text);
  const auto sum = json.at("crc32c").get<uint32_t>();
  json.erase("crc32c");
  if (io::crc32c(io::json_text(json)) != sum) throw Error("checksum");
  if (json.at("key") != key) throw Error("another fit");
  std::vector<sample::BespokeStep> steps;
  for (const Json& step : json.at("steps"))
    steps.push_back({step.at("t"), step.at("s"), step.at("weights")});
  return steps;
}

}  // namespace

Json fit_key(const sample::SampleConfig& config, uint32_t weights_crc32c) {
  Json key = sample::image_settings(config);
  key["weights_crc32c"] = weights_crc32c;
  if (sample::tries_exponents(config)) key["exponents"] = sample::kFitExponents;
  return key;
}

fs::path fit_file(const exchange::Model& network, const Json& key) {
  return exchange::run_of(network) / "estimates" /
         fmt::format("bespoke-{}-{:08x}.json", key.at("steps").get<int64_t>(),
                     io::crc32c(io::json_text(key)));
}

std::vector<sample::BespokeStep> read_fit(const fs::path& file, const Json& key) {
  if (!fs::exists(file)) return {};
  try {
    return parsed_fit(io::read_text(file), key);
  } catch (const std::exception& error) {
    spdlog::warn("{}: is damaged ({}); method bespoke is fitted again", file.string(),
                 error.what());
    return {};
  }
}

void keep_fit(const fs::path& file, const Json& key,
              const std::vector<sample::BespokeStep>& steps) {
  Json list = Json::array();
  for (const sample::BespokeStep& step : steps)
    list.push_back({{"t", step.t}, {"s", step.s}, {"weights", step.weights}});
  Json json{{"what",
             "weights of method bespoke, added to DDIM's step: of x_t, then of x0_hat, the "
             "newest first"},
            {"key", key},
            {"steps", list}};
  json["crc32c"] = io::crc32c(io::json_text(json));
  try {
    io::make_folder(file.parent_path());
    io::write_file_atomic(file, io::json_text(json, 1) + "\n");
  } catch (const IoError& error) {
    spdlog::warn("{}; method bespoke will be fitted again next time", error.what());
  }
}

}  // namespace ddpm::pipeline
