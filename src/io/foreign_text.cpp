#include "ddpm/io/foreign_text.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

namespace ddpm::io {
namespace {

constexpr size_t kBegin = 512;

constexpr const char* kLfs =
    "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull";
constexpr const char* kAnnex =
    "is a git-annex pointer, not the file itself; fetch it with: git annex get";
constexpr const char* kPage =
    "is a web page, not the file itself; download the file behind the page's download link (on "
    "Hugging Face and GitHub: resolve or raw in the address, not blob)";
constexpr const char* kMessage =
    "is a server's message, not the file itself; open it in an editor, and download the file again";

template <size_t N>
bool begins_with_any(const std::string& text, const std::array<std::string_view, N>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](std::string_view begin) { return text.starts_with(begin); });
}

}  // namespace

std::string first_letters(std::span<const uint8_t> bytes, size_t most) {
  std::string text(bytes.begin(), bytes.begin() + std::min(bytes.size(), most));
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string foreign_text(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return "is empty (0 bytes); download or copy it again";
  const std::string text = first_letters(bytes, kBegin);
  if (text.starts_with("version https://git-lfs.github.com/spec/")) return kLfs;
  if (text.starts_with("/annex/objects/") || text.find(".git/annex/objects/") < 64) return kAnnex;
  constexpr std::array<std::string_view, 4> kPages = {"<!doctype html", "<html", "<head", "<body"};
  if (begins_with_any(text, kPages)) return kPage;
  const bool xml = text.starts_with("<?xml");
  if (xml && text.find("<!doctype html") != std::string::npos) return kPage;
  if (xml && text.find("<error>") != std::string::npos) return kMessage;  // of object stores
  constexpr std::array<std::string_view, 6> kMessages = {
      "{\"error\"",      "{\"message\"",    "invalid username or password",
      "entry not found", "access to model", "404: not found"};
  return begins_with_any(text, kMessages) ? kMessage : "";
}

void refuse_foreign_text(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  const std::string text = foreign_text(bytes);
  if (!text.empty()) throw IoError(path, text);
}

void refuse_foreign_text(const std::filesystem::path& path) {
  std::vector<uint8_t> bytes;
  try {
    const InputFile file(path);
    bytes.resize(std::min<uint64_t>(file.size(), kBegin));
    file.read_at(0, bytes);
  } catch (const IoError&) {  // the next reader reports it
    return;
  }
  refuse_foreign_text(path, bytes);
}

}  // namespace ddpm::io
