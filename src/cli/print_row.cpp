#include "print_row.h"

#include "ddpm/base/text.h"

#include <fmt/format.h>

namespace ddpm::cli {

void print_row(const std::string& key, const std::string& value) {
  fmt::print("{}", table_row(key, value));
}

}  // namespace ddpm::cli
