#include "ddpm/io/foreign_text.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/npy.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/io/torch_file.h"
#include "tests/io/temporary_folder.h"

#include <functional>

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

std::string what(std::string_view text) {
  return foreign_text({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

TEST(ForeignText, IsCalledWhatItIs) {
  EXPECT_NE(what(kPointer).find("git lfs pull"), std::string::npos);
  EXPECT_NE(what("/annex/objects/SHA256E-s12--ab.bin\n").find("git annex get"), std::string::npos);
  EXPECT_NE(what("../.git/annex/objects/a/b/SHA256E-s12--ab.bin").find("git annex"),
            std::string::npos);
  for (const char* page :
       {"<!doctype html><html>", "\n\n  <HTML lang=\"en\">", "<head><title>",
        "\xEF\xBB\xBF<!DOCTYPE html>", "<?xml version=\"1.0\"?>\n<!DOCTYPE html>"})
    EXPECT_NE(what(page).find("web page"), std::string::npos) << page;
  for (const char* message :
       {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "Entry not found",
        "{\"error\":\"Repository not found\"}", "404: Not Found", "Invalid username or password."})
    EXPECT_NE(what(message).find("server's message"), std::string::npos) << message;
  EXPECT_NE(what("").find("empty"), std::string::npos);
}

TEST(ForeignText, OtherBytesAreNone) {
  for (const char* other : {"\x89PNG\r\n", "PK\x03\x04", "{\"epsilon\": 1}", "<svg>",
                            "P5 3 3 255\n", "<?xml version=\"1.0\"?><svg>", "\x80\x02}", "hello"})
    EXPECT_EQ(what(other), "") << other;
}

TEST(ForeignText, EveryReaderSaysSo) {
  TemporaryFolder folder;
  const fs::path path = folder / "file";
  const std::vector<std::pair<std::string, std::function<void()>>> readers = {
      {"safetensors", [&] { read_safetensors(path); }},
      {"torch", [&] { read_torch_file(path); }},
      {"zip", [&] { ZipReader reader(path); }},
      {"npy", [&] { parse_npy_header(read_file(path), path.string()); }}};
  for (const auto& [text, expected] :
       {std::pair<std::string, std::string>(kPointer, "git lfs pull"),
        {"<!DOCTYPE html>\n<html></html>", "web page"},
        {"", "empty"}}) {
    write_file_synced(path, text);
    for (const auto& [name, read] : readers) {
      if (text.empty() && name == "zip") continue;  // to libzip, an archive of no files
      try {
        read();
        ADD_FAILURE() << name << " read \"" << text << "\"";
      } catch (const IoError& error) {
        EXPECT_NE(std::string(error.what()).find(expected), std::string::npos)
            << name << ": " << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace ddpm::io
