#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

// What lies where a file of weights, images or numbers should be if fetching it went wrong.

namespace ddpm::io {

/// The first `most` bytes in lower case, without the byte order mark and the white space that may
/// come first.
std::string first_letters(std::span<const uint8_t> bytes, size_t most);

/// If `bytes` (the file, or at least its first 512 bytes) are a Git LFS or git-annex pointer, a web
/// page, a server's error message, or nothing: what they are and what to do, to stand behind the
/// file's name. "" if they are none of these.
std::string foreign_text(std::span<const uint8_t> bytes);

/// Throws IoError(path, foreign_text(bytes)) if it is one.
void refuse_foreign_text(const std::filesystem::path& path, std::span<const uint8_t> bytes);
/// The same for a file, of which the first bytes are read; does nothing if it cannot be read.
void refuse_foreign_text(const std::filesystem::path& path);

}  // namespace ddpm::io
