#pragma once

#include "tests/cli/program.h"

#include <string>

namespace ddpm {

/// The line of the error, from "ddpm: error: " on; "" without one.
inline std::string error_line(const ProgramResult& result) {
  const size_t at = result.err.rfind("ddpm: error: ");
  return at == std::string::npos ? "" : result.err.substr(at, result.err.find('\n', at) - at);
}

}  // namespace ddpm
