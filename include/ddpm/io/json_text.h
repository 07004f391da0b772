#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::io {

/// The text of a JSON value, on one line or, if `indent` is not negative, indented. Bytes that are
/// not UTF-8 (file names may hold any) are escaped by as_utf8. All JSON output of the program uses
/// this function.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace ddpm::io
