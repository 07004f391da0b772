#include "image_survey.h"

#include "ddpm/data/statistics.h"
#include "losses.h"
#include "parallel.h"

#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

bool knows_enough(const FileRecord& file, BadImages bad_images) {
  return file.check == Check::kDecoded ||
         (file.check == Check::kHeader && bad_images != BadImages::kSkip);
}

// Checks one file and sets `problem`.
void look_at(const ImageReader& reader, FileRecord& file) {
  const bool all = reader.options().bad_images == BadImages::kSkip;
  try {
    file.info = reader.info(file);
    file.check = Check::kHeader;
    if (!all || !reader.excess(file.info).empty()) return;
    reader.decode(file, 0);
    file.check = Check::kDecoded;
  } catch (const IoError& error) {
    if (reader.options().bad_images == BadImages::kError) reader.fail_unreadable(error);
    file.problem = reason_of(error);
    file.check = all ? Check::kDecoded : Check::kNone;
  }
}

// Returns the number of files checked.
int64_t look_at_unknown(const ImageReader& reader, Catalogue& catalogue) {
  const BadImages bad_images = reader.options().bad_images;
  std::vector<FileRecord*> unknown;
  for (FileRecord& file : catalogue.files) {
    // Another rule found the problem, or the file may have been repaired: check it again.
    if (bad_images != BadImages::kSkip && file.check == Check::kDecoded && !file.problem.empty()) {
      file.check = Check::kNone;
      file.problem.clear();
    }
    if (!knows_enough(file, bad_images)) unknown.push_back(&file);
  }
  parallel_for(static_cast<int64_t>(unknown.size()), reader.options().workers,
               bad_images == BadImages::kSkip ? "checking images" : "reading image headers",
               [&](int64_t, int64_t i) { look_at(reader, *unknown[i]); });
  return static_cast<int64_t>(unknown.size());
}

[[noreturn]] void fail_empty(const ImageSource& source, const Catalogue& catalogue) {
  throw IoError(source.root,
                fmt::format("no images in this {}; expected files ending in {}{}", source.kind,
                            image_endings(),
                            catalogue.passed_over.empty()
                                ? ""
                                : "; there are " + counted_endings(catalogue.passed_over)));
}

Survey look_around(const ImageReader& reader) {
  Survey found{.catalogue = reader.source().list(), .own = true};
  Catalogue& catalogue = found.catalogue;
  if (catalogue.files.empty()) fail_empty(reader.source(), catalogue);
  const auto before =
      reader.options().index.empty() ? std::nullopt : read_catalogue(reader.options().index);
  const int64_t known = before ? take_known(catalogue, *before) : 0;
  const int64_t looked_at = look_at_unknown(reader, catalogue);
  found.changed = !before || looked_at > 0 || catalogue.files.size() != before->files.size();
  if (known > 0)
    spdlog::debug("{} of {} images are known from {}", known, catalogue.files.size(),
                  reader.options().index.string());
  return found;
}

// Another process listed the files: checks that they are the same here.
void spot_check(const ImageReader& reader, const std::vector<FileRecord>& files) {
  constexpr int64_t kLooks = 200;
  for (const int64_t i : spread_indices(static_cast<int64_t>(files.size()), kLooks)) {
    if (!files[i].problem.empty()) continue;
    const auto size = reader.source().size_of(files[i].name);
    if (size == files[i].size) continue;
    throw IoError(reader.full_name(files[i].name),
                  size
                      ? fmt::format("has {} bytes, but {} for rank 0; give all processes the same "
                                    "data",
                                    *size, files[i].size)
                      : "does not exist, but it does for rank 0; give all processes the same data");
  }
}

}  // namespace

Survey survey(const ImageReader& reader) {
  if (!reader.options().share) return look_around(reader);
  Survey found;
  const std::vector<uint8_t> bytes = reader.options().share([&] {
    found = look_around(reader);
    return to_bytes(found.catalogue);
  });
  auto catalogue = catalogue_of(bytes);
  TORCH_CHECK(catalogue, "the catalogue of images has come damaged from another process");
  found.catalogue = std::move(*catalogue);
  spot_check(reader, found.catalogue.files);
  return found;
}

}  // namespace ddpm::data
