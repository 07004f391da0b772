#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace ddpm::exchange {

/// JSON as Python's json module writes it: with NaN, Infinity and -Infinity as numbers. Throws
/// IoError(path, ...) if the text is no JSON object, and names what it is if that is known.
nlohmann::json parse_json_object(std::string_view text, const std::filesystem::path& path);

/// The same for messages, at most 80 characters: numbers that JSON does not have as Python has
/// them.
std::string shown(const nlohmann::json& value);

}  // namespace ddpm::exchange
