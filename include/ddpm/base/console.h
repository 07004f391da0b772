#pragma once

#include <string_view>

namespace ddpm {

/// Writes to stderr at once. Text that cannot be written (a closed terminal, a full disk, a broken
/// pipe) is dropped: a message must not stop the work it reports. Safe in signal handlers.
void write_to_stderr(std::string_view text) noexcept;

/// Whether lines on stderr can be redrawn: stderr is a terminal, TERM is not "dumb", and NO_COLOR
/// is not set.
bool stderr_is_terminal();
/// Present width in columns of the terminal on stderr; 80 if unknown.
int terminal_width();

}  // namespace ddpm
