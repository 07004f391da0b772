#pragma once

#include <string>

namespace ddpm {

/// Call it before anything else. Opens /dev/null for each standard stream that is closed, so that
/// no file opened later gets its number and receives messages or results. A write to a closed pipe
/// or beyond `ulimit -f` then fails instead of ending the process (SIGPIPE, SIGXFSZ).
void secure_standard_streams();

/// Flushes stdout. Returns an error message in one line if that fails, else "".
std::string flush_results();

}  // namespace ddpm
