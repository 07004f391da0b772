#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

// Texts that replace a file of weights, images or numbers if a download went wrong.

namespace ddpm::io {

/// The first `most` bytes in lower case, without a leading byte order mark and white space.
std::string first_letters(std::span<const uint8_t> bytes, size_t most);

/// Says if `bytes` (the file, or at least its first 512 bytes) are a Git LFS or git-annex pointer,
/// a web page, a server's error message, or empty: what they are and what to do, to follow the
/// file's name. "" otherwise.
std::string foreign_text(std::span<const uint8_t> bytes);

/// Throws IoError(path, foreign_text(bytes)) if that is not empty.
void refuse_foreign_text(const std::filesystem::path& path, std::span<const uint8_t> bytes);
/// The same for the first bytes of a file. Does nothing if it cannot be read.
void refuse_foreign_text(const std::filesystem::path& path);

}  // namespace ddpm::io
