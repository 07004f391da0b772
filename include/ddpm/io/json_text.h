#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::io {

/// The text of a JSON value, on one line or, if `indent` is not negative, on several. Bytes that
/// are not UTF-8 (names of files may hold any) read \xE9: see as_utf8. Every JSON that the program
/// writes is written by this function.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace ddpm::io
