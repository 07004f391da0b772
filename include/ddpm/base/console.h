#pragma once

#include <string_view>

namespace ddpm {

/// Writes to stderr at once. What cannot be written (a terminal that was closed, a full disk, a
/// pipe that nobody reads) is dropped: a message is never worth the work that it tells of. Signal
/// handlers may call it.
void write_to_stderr(std::string_view text) noexcept;

}  // namespace ddpm
