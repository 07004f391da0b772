#pragma once

#include <string>
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

/// Call it before anything else. Opens /dev/null for each standard stream that is closed, so that
/// no file opened later gets its number and receives messages or results. A write to a closed pipe
/// or beyond `ulimit -f` then fails instead of ending the process (SIGPIPE, SIGXFSZ).
void secure_standard_streams();

/// Flushes stdout. Returns an error message in one line if that fails, else "".
std::string flush_results();

}  // namespace ddpm
