#pragma once

#include <string>

// What a connection between processes needs of this machine.

namespace ddpm::dist {

/// Why rank 0 cannot wait for the other processes at `port`; "" if it can. `only_this_machine`: all
/// processes are on it.
std::string port_problem(int port, bool only_this_machine);

/// The version of NCCL, "2.28.9"; "" if the program was built without it.
std::string nccl_version();

}  // namespace ddpm::dist
