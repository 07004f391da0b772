#pragma once

#include <cstdint>
#include <filesystem>

namespace ddpm::data {

/// Bytes of memory that this process may still allocate: those free on the machine, or in its
/// control group (a container, a batch job) if fewer.
uint64_t available_memory();

/// Throws IoError if `bytes` of data do not fit in the available memory.
void expect_fits_memory(const std::filesystem::path& path, double bytes);

}  // namespace ddpm::data
