#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::dist {

/// "node[01-03,07],gpu5" to node01, node02, node03, node07, gpu5. Throws UsageError if brackets
/// or ranges are invalid.
std::vector<std::string> expand_nodelist(const std::string& text);

/// SLURM_TASKS_PER_NODE, "4(x2),1" to 4, 4, 1. Throws UsageError if it is malformed.
std::vector<int64_t> expand_tasks_per_node(const std::string& text);

}  // namespace ddpm::dist
