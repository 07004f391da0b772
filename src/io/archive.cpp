#include "ddpm/io/archive.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/foreign_text.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <zip.h>

namespace ddpm::io {
namespace {

std::string describe(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

zip_t* open_archive(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw IoError(path, "does not exist; check the path");
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (!archive) {
    refuse_foreign_text(path);
    throw IoError(
        path,
        fmt::format(
            "is not a readable zip archive (truncated? libzip says: {}); fetch or pack it again",
            describe(code)));
  }
  return archive;
}

// The archive's metadata of an entry, checked.
zip_stat_t checked_stat(zip_t* archive, uint64_t entry, const std::filesystem::path& name,
                        uint64_t archive_bytes) {
  zip_stat_t stat;
  if (zip_stat_index(archive, entry, 0, &stat) != 0)
    throw IoError(name,
                  fmt::format("damaged entry in the zip archive ({})", zip_strerror(archive)));
  if (stat.encryption_method != ZIP_EM_NONE) {
    throw IoError(
        name, "is encrypted; unpack the archive and use the folder, or pack it without a password");
  }
  // Deflate packs at most 1032 bytes into one (zlib's technical details). Methods other than stored
  // and deflate are rare and not checked.
  constexpr uint64_t kBestRatio = 1032;
  const uint64_t ratio = stat.comp_method == ZIP_CM_STORE     ? 1
                         : stat.comp_method == ZIP_CM_DEFLATE ? kBestRatio
                                                              : 0;
  if (stat.comp_size > archive_bytes || (ratio > 0 && stat.size / ratio > stat.comp_size)) {
    throw IoError(name,
                  fmt::format("is damaged in the zip archive (it says that {} bytes unpack to "
                              "{}); fetch or pack it again",
                              stat.comp_size, stat.size));
  }
  return stat;
}

}  // namespace

void ZipReader::Close::operator()(zip* archive) const { zip_discard(archive); }

ZipReader::ZipReader(const std::filesystem::path& path)
    : path_(path), archive_(open_archive(path)), bytes_(InputFile(path).size()) {
  std::vector<std::pair<std::string, uint64_t>> files;
  const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(archive_.get(), i, 0);
    if (!name)
      throw IoError(path, fmt::format("entry {} of the zip archive has no readable name", i));
    const std::string text = name;
    if (!text.empty() && text.back() != '/') files.emplace_back(text, i);
  }
  std::sort(files.begin(), files.end());
  for (auto& [name, entry] : files) {
    names_.push_back(std::move(name));
    entries_.push_back(entry);
  }
}

ZipReader::~ZipReader() = default;

uint64_t ZipReader::entry_of(const std::string& name) const {
  const auto found = std::lower_bound(names_.begin(), names_.end(), name);
  if (found == names_.end() || *found != name)
    throw IoError(path_ / name, "no such file in the zip archive");
  return entries_[found - names_.begin()];
}

uint64_t ZipReader::size_of(const std::string& name) const {
  const uint64_t entry = entry_of(name);
  const std::lock_guard lock(mutex_);
  zip_stat_t stat;
  if (zip_stat_index(archive_.get(), entry, 0, &stat) != 0)
    throw IoError(path_ / name, "damaged entry in the zip archive");
  return stat.size;
}

std::vector<uint8_t> ZipReader::read(const std::string& name) const {
  return read_entry(name, 0, /*whole=*/true);
}

std::vector<uint8_t> ZipReader::read_beginning(const std::string& name, uint64_t count) const {
  return read_entry(name, count, /*whole=*/false);
}

std::vector<uint8_t> ZipReader::read_entry(const std::string& name, uint64_t count,
                                           bool whole) const {
  const uint64_t entry = entry_of(name);
  const std::lock_guard lock(mutex_);
  const zip_stat_t stat = checked_stat(archive_.get(), entry, path_ / name, bytes_);
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen_index(archive_.get(), entry, 0), zip_fclose);
  if (!file) {
    throw IoError(path_ / name, fmt::format("cannot be read from the zip archive ({})",
                                            zip_strerror(archive_.get())));
  }
  // The stated size is not checked for other methods: memory grows as bytes arrive.
  constexpr uint64_t kFirstPiece = 64 << 20;
  const uint64_t wanted = whole ? stat.size : std::min<uint64_t>(count, stat.size);
  std::vector<uint8_t> bytes(std::min(wanted, kFirstPiece));
  size_t done = 0;
  uint8_t beyond = 0;
  zip_int64_t got = 0;
  // libzip compares the checksum at the read past the end.
  do {
    if (done == bytes.size() && done < wanted)
      bytes.resize(std::min<uint64_t>(wanted, 2 * bytes.size()));
    if (done < bytes.size()) {
      got = zip_fread(file.get(), bytes.data() + done, bytes.size() - done);
    } else {
      got = whole ? zip_fread(file.get(), &beyond, 1) : 0;
    }
    if (got > 0) done += got;
  } while (got > 0 && done <= wanted);
  if (got != 0 || done != wanted) {
    throw IoError(path_ / name,
                  fmt::format("is damaged in the zip archive ({}); fetch or pack it again",
                              got < 0 ? zip_file_strerror(file.get()) : "wrong size"));
  }
  return bytes;
}

}  // namespace ddpm::io
