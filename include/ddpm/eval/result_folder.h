#pragma once

#include <filesystem>
#include <string>

namespace ddpm::eval {

/// Makes a folder for results and writes their protocol into it (protocol.json): everything that
/// the numbers depend on, as JSON. Throws IoError if the folder holds results of another protocol,
/// or files without a protocol: results are never mixed or overwritten.
void claim_result_folder(const std::filesystem::path& folder, const std::string& protocol);

/// PARENT/NAME-0123abcd: a different folder for each protocol.
std::filesystem::path default_result_folder(const std::filesystem::path& parent,
                                            const std::string& name, const std::string& protocol);

}  // namespace ddpm::eval
