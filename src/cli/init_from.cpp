#include "init_from.h"

#include "ddpm/exchange/model_text.h"
#include "ddpm/train/checkpoint_store.h"

#include <sstream>

#include <fmt/format.h>

namespace ddpm::cli {

exchange::Model read_initial_network(const std::string& path) {
  if (exchange::is_foreign(path)) return exchange::read_model(path);
  return exchange::read_model(train::resolve_checkpoint(path));
}

void describe_in_(config::Document& document, const exchange::Model& network) {
  std::istringstream lines(exchange::description_text(network.description));
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1);
    const size_t equals = line.find(" = ");
    if (equals == std::string::npos || (section != "model" && section != "diffusion")) continue;
    document.set(fmt::format("{}.{}={}", section, line.substr(0, equals), line.substr(equals + 3)));
  }
}

}  // namespace ddpm::cli
