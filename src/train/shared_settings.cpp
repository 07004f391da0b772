#include "ddpm/train/resume.h"

#include <array>
#include <sstream>
#include <string>

namespace ddpm::train {

dist::Facts shared_settings(const config::Document& document) {
  constexpr std::array kMachineSettings{"run.device",   "run.threads",   "run.peer_timeout",
                                        "data.workers", "data.cache_mb", "data.resident"};
  dist::Facts facts;
  std::istringstream text(document.effective());
  std::string section;
  for (std::string line; std::getline(text, line);) {
    const size_t equals = line.find(" = ");
    if (line.starts_with("[")) {
      section = line.substr(1, line.find(']') - 1) + ".";
    } else if (equals != std::string::npos) {
      facts[section + line.substr(0, equals)] = line.substr(equals + 3);
    }
  }
  for (const char* key : kMachineSettings) facts.erase(key);
  return facts;
}

}  // namespace ddpm::train
