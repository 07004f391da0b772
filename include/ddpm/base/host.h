#pragma once

#include <string>

namespace ddpm {

/// This machine's name; "localhost" if it is unknown.
std::string host_name();

}  // namespace ddpm
