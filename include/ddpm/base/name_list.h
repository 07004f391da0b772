#pragma once

#include <string>
#include <vector>

namespace ddpm {

/// "cat, dog, bird": at most twelve names for a message; "..." stands for the others.
std::string name_list(const std::vector<std::string>& names);

}  // namespace ddpm
