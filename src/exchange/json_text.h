#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace ddpm::exchange {

/// Parses JSON of Python's json module, which writes NaN, Infinity and -Infinity as numbers. Throws
/// IoError(path, ...) if the text is not a JSON object, and names its format if that is known.
nlohmann::json parse_json_object(std::string_view text, const std::filesystem::path& path);

/// A value for messages, at most 80 characters, with NaN and Infinity as in Python.
std::string shown(const nlohmann::json& value);

}  // namespace ddpm::exchange
