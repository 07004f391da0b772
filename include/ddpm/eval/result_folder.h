#pragma once

#include <filesystem>
#include <string>

namespace ddpm::eval {

/// Makes a folder for results and notes their protocol in it (protocol.json): all that decides the
/// numbers, as JSON. Results of another protocol are never mixed with these or overwritten: throws
/// IoError if the folder holds some, or anything without a protocol.
void claim_result_folder(const std::filesystem::path& folder, const std::string& protocol);

/// PARENT/NAME-0123abcd: a folder that results of another protocol do not have.
std::filesystem::path default_result_folder(const std::filesystem::path& parent,
                                            const std::string& name, const std::string& protocol);

}  // namespace ddpm::eval
