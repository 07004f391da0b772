#pragma once

#include <cstdint>
#include <filesystem>

namespace ddpm::data {

/// Bytes of memory that this process may still take: what the machine has free, or its control
/// group (a container, a batch job) if that is less.
uint64_t available_memory();

/// Throws IoError if data of so many bytes, which are kept in memory, are more than available.
void expect_fits_memory(const std::filesystem::path& path, double bytes);

}  // namespace ddpm::data
