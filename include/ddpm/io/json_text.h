#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::io {

/// The text of a JSON value, on one line or, if `indent` is not negative, indented. Bytes that are
/// not UTF-8 (file names may hold any) are escaped by as_utf8. All JSON output of the program uses
/// this function.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);

/// The value of a JSON text. Throws nlohmann's parse_error. (To read JSON in this one file spares every
/// other file of the program four seconds of compiling.)
nlohmann::ordered_json parsed_json(std::string_view text);

/// The same without an exception: what is no JSON is_discarded(), and so no object.
nlohmann::ordered_json json_or_discarded(std::string_view text);

}  // namespace ddpm::io
