#pragma once

#include "ddpm/base/error.h"
#include "image_files.h"

#include <cstdint>
#include <string>

namespace ddpm::data {

/// Reads and decodes the files of a source with limited memory. Thread-safe.
class ImageReader {
 public:
  ImageReader(ImageSource source, const ImageOptions& options);

  const ImageSource& source() const { return source_; }
  const ImageOptions& options() const { return options_; }
  std::string full_name(const std::string& name) const { return (source_.root / name).string(); }

  /// From the header of a file larger than kHeaderBytes; a smaller file is checked completely
  /// except for its pixels. Throws IoError.
  io::ImageInfo info(const FileRecord& file) const;
  /// `channels` 0: as in the file. uint8, or io::decode_levels if options().depth is 16: [C,H,W].
  /// Throws IoError.
  torch::Tensor decode(const FileRecord& file, int64_t channels) const;
  /// Why an image of this size is refused, or "".
  std::string excess(const io::ImageInfo& info) const;
  /// Throws the error, with the config key that avoids it if there is a config.
  [[noreturn]] void fail_unreadable(const IoError& error) const;

 private:
  void expect_readable(const FileRecord& file) const;

  ImageSource source_;
  ImageOptions options_;
};

/// The message of an error after the file name.
std::string reason_of(const IoError& error);

}  // namespace ddpm::data
