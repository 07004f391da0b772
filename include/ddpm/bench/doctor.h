#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

// Looks for what keeps a training from starting, or makes it slow, on this machine.

namespace ddpm::bench {

enum class Health { kOk, kWarning, kProblem };
constexpr auto names_of(Health) { return std::array{"ok", "warning", "problem"}; }

/// The result of one check.
struct Finding {
  std::string check;  ///< "GPU"
  Health health = Health::kOk;
  std::string found;   ///< what was found, with numbers and units
  std::string advice;  ///< what to do; "" if it is ok
};

struct DoctorOptions {
  std::string device = "auto";          ///< as run.device
  std::filesystem::path runs = "runs";  ///< the folder for runs; it need not exist
  std::filesystem::path data;           ///< images to read; empty: none
  std::optional<int> port;              ///< for the rendezvous; none: MASTER_PORT, else 29500
};

/// Runs all checks, about 15 seconds, and passes each finding on when it is known. Writes to a
/// temporary folder in options.runs, or in the nearest folder above it that exists, and removes it.
/// A check that fails is a finding, never an exception.
std::vector<Finding> examine(const DoctorOptions& options,
                             const std::function<void(const Finding&)>& report);

/// Removes examine()'s temporary folder. For a process that is about to end.
void remove_doctor_scratch(const DoctorOptions& options);

/// One row of the table, of at most 100 columns, with its advice below; one line of JSON; a line
/// that counts warnings and problems.
std::string to_text(const Finding& finding);
std::string to_json(const std::vector<Finding>& findings);
std::string summary(const std::vector<Finding>& findings);
int64_t count(const std::vector<Finding>& findings, Health health);

}  // namespace ddpm::bench
