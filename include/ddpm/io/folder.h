#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace ddpm::io {

/// Creates a folder and its missing parents. Throws IoError "cannot be made: ...", followed by
/// `way_out` if given.
void make_folder(const std::filesystem::path& folder, const std::string& way_out = "");

/// The folder itself, or the nearest one above it that exists: where it would be made. Absolute.
std::filesystem::path existing_folder(const std::filesystem::path& folder);

/// Throws IoError if there is no folder to contain `destination`.
void expect_folder_of(const std::filesystem::path& destination);

/// Throws IoError if `destination` exists, or if the folder to contain it does not.
void expect_absent(const std::filesystem::path& destination);

/// Creates a folder as one step: `fill` writes into a temporary folder beside it, which is renamed
/// when complete and on the disk, or removed after an error. Throws IoError, also if `destination`
/// exists.
void write_folder_atomic(const std::filesystem::path& destination,
                         const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace ddpm::io
