#include "quality_log.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "json_lines.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

fs::path lines_file(const fs::path& run) { return run / "quality.jsonl"; }

// RUN/best as a copy of the checkpoint. Between the removal of the former one and the renaming of
// the new one there is none; quality.jsonl still names the step.
void keep_best(const fs::path& run, const fs::path& checkpoint) {
  const fs::path best = run / "best", next = run / "best.new";
  try {
    fs::remove_all(next);
    io::write_folder_atomic(next, [&](const fs::path& folder) {
      for (const fs::directory_entry& file : fs::directory_iterator(checkpoint)) {
        std::error_code no_links;  // the files of a checkpoint never change
        fs::create_hard_link(file.path(), folder / file.path().filename(), no_links);
        if (no_links) fs::copy_file(file.path(), folder / file.path().filename());
      }
    });
    fs::remove_all(best);
    fs::rename(next, best);
  } catch (const fs::filesystem_error& error) {
    throw IoError(best, fmt::format("cannot be written: {}", error.code().message()));
  }
}

}  // namespace

QualityLog::QualityLog(fs::path run, int64_t step) : run_(std::move(run)) {
  const fs::path file = lines_file(run_);
  if (!fs::exists(file)) return;
  const auto lines = lines_up_to(file, step);
  write_lines(file, lines);
  for (const auto& line : lines)
    entries_.push_back(
        {line.at("step"), line.value("frechet", std::numeric_limits<double>::max())});
}

bool QualityLog::add(int64_t step, const Quality& quality, const fs::path& checkpoint) {
  const bool best = std::all_of(entries_.begin(), entries_.end(),
                                [&](const Entry& e) { return quality.frechet < e.frechet; });
  entries_.push_back({step, quality.frechet});
  or_warn([&] {
    append_line(lines_file(run_), {{"step", step},
                                   {"frechet", quality.frechet},
                                   {"frechet_error", quality.error},
                                   {"fault", quality.fault},
                                   {"best", best}});
    if (best) keep_best(run_, checkpoint);
  });
  return best;
}

int64_t QualityLog::since_best() const {
  const auto best =
      std::min_element(entries_.begin(), entries_.end(),
                       [](const Entry& a, const Entry& b) { return a.frechet < b.frechet; });
  return best == entries_.end() ? 0 : std::distance(best, entries_.end()) - 1;
}

}  // namespace ddpm::train
