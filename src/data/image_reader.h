#pragma once

#include "ddpm/base/error.h"
#include "image_files.h"

#include <cstdint>
#include <string>

namespace ddpm::data {

/// Reads and decodes the files of a source within bounds of memory. Many threads may use one.
class ImageReader {
 public:
  ImageReader(ImageSource source, const ImageOptions& options);

  const ImageSource& source() const { return source_; }
  const ImageOptions& options() const { return options_; }
  std::string full_name(const std::string& name) const { return (source_.root / name).string(); }

  /// From the file's header, if it is larger than kHeaderBytes; else all of it is checked but its
  /// pixels. Throws IoError.
  io::ImageInfo info(const FileRecord& file) const;
  /// `channels` 0: as in the file. Throws IoError.
  io::Image decode(const FileRecord& file, int64_t channels) const;
  /// Why an image of this size is refused, or "".
  std::string excess(const io::ImageInfo& info) const;
  /// Throws the same error with the way out that a config offers, if there is one.
  [[noreturn]] void fail_unreadable(const IoError& error) const;

 private:
  void expect_readable(const FileRecord& file) const;

  ImageSource source_;
  ImageOptions options_;
};

/// What stands behind the file's name in an error.
std::string reason_of(const IoError& error);

}  // namespace ddpm::data
