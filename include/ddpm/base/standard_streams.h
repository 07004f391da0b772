#pragma once

#include <string>

namespace ddpm::cli {

/// Before anything else: takes the numbers 0 to 2 of streams that were closed, so that no file that
/// is opened later receives messages or results, and lets a write to a closed pipe or beyond
/// `ulimit -f` fail instead of ending the process (SIGPIPE, SIGXFSZ).
void secure_standard_streams();

/// Brings all that was printed to stdout to where it goes. Returns why that cannot be, in one line;
/// "" if all went well.
std::string flush_results();

}  // namespace ddpm::cli
