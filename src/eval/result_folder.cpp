#include "ddpm/eval/result_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProtocol = "protocol.json";

}  // namespace

void claim_result_folder(const fs::path& folder, const std::string& protocol) {
  io::make_folder(folder);
  const fs::path file = folder / kProtocol;
  const std::string text = protocol + "\n";
  if (fs::exists(file) && io::read_text(file) == text) return;
  const fs::directory_iterator entries(folder);
  const bool holds_results = std::any_of(begin(entries), end(entries), [](const auto& entry) {
    return entry.path().filename() != kProtocol;
  });
  if (holds_results) {
    throw IoError(
        folder, fs::exists(file)
                    ? "holds results of other settings, images or weights (its protocol.json says "
                      "which); name another folder with --out"
                    : "holds files but no protocol.json; name another folder with --out");
  }
  io::write_file_atomic(file, text);
}

fs::path default_result_folder(const fs::path& parent, const std::string& name,
                               const std::string& protocol) {
  return parent / fmt::format("{}-{}", name, io::sha256(protocol).substr(0, 8));
}

}  // namespace ddpm::eval
