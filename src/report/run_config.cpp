#include "run_config.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <map>
#include <sstream>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Settings = std::vector<std::pair<std::string, std::string>>;

Settings read_settings(const fs::path& file, std::vector<std::string>& warnings) {
  try {
    if (fs::exists(file)) return settings_of(io::read_text(file));
  } catch (const IoError& error) {
    warnings.emplace_back(error.what());
  }
  return {};
}

// In the order of the later settings; "" for a key that is missing.
Json changes_between(const Settings& was, const Settings& is) {
  std::map<std::string, std::string> before(was.begin(), was.end());
  Json changes = Json::array();
  for (const auto& [key, value] : is) {
    const auto found = before.find(key);
    const std::string former = found == before.end() ? "" : found->second;
    if (former != value) changes.push_back({key, former, value});
    if (found != before.end()) before.erase(found);
  }
  for (const auto& [key, value] : before) changes.push_back({key, value, ""});
  return changes;
}

// Of "config-until-step-000000400.toml" and "config-until-step-000000400-2.toml", in their order.
std::vector<fs::path> former_configs(const fs::path& run) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run, none)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("config-until-step-") && name.ends_with(".toml"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end(),
            [](const fs::path& a, const fs::path& b) { return a.stem() < b.stem(); });
  return files;
}

}  // namespace

Settings settings_of(std::string_view toml) {
  Settings settings;
  std::string section;
  std::istringstream in{std::string(toml)};
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[' && line.back() == ']') {
      section = line.substr(1, line.size() - 2) + ".";
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      settings.emplace_back(section + line.substr(0, equals), line.substr(equals + 3));
    }
  }
  return settings;
}

Json run_config(const fs::path& run, std::vector<std::string>& warnings) {
  const Settings now = read_settings(run / "config.toml", warnings);
  const std::vector<fs::path> files = former_configs(run);
  std::vector<Settings> states;
  for (const fs::path& file : files) states.push_back(read_settings(file, warnings));
  states.push_back(now);
  Json former = Json::array();
  for (size_t i = 0; i < files.size(); ++i)
    former.push_back({{"file", files[i].filename().string()},
                      {"changes", changes_between(states[i], states[i + 1])}});
  return {{"config", now}, {"former", std::move(former)}};
}

}  // namespace ddpm::report
