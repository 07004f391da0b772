#include "print_row.h"

#include <fmt/format.h>

namespace ddpm::cli {

void print_row(const std::string& key, const std::string& value) {
  fmt::print("{:<14} {}\n", key, value);
}

}  // namespace ddpm::cli
