#include "ddpm/report/report.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "run_reader.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// JSON that a <script> element can hold: no tag, comment or entity can begin in it (HTML standard,
// 4.12.1.3), and it stays the same JSON.
std::string script_data(const Json& json) {
  std::string text;
  for (const char c : io::json_text(json)) {
    if (c == '<' || c == '>' || c == '&') {
      text += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      text += c;
    }
  }
  return text;
}

std::string html_text(const std::string& text) {
  std::string html;
  for (const char c : as_utf8(text)) {
    if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'') {
      html += fmt::format("&#{};", static_cast<int>(c));
    } else {
      html += c;
    }
  }
  return html;
}

// The template with its parts in the place of <!--NAME-->. A part is not searched again.
std::string filled(std::string_view page,
                   const std::vector<std::pair<std::string_view, std::string_view>>& parts) {
  std::string html;
  while (!page.empty()) {
    size_t first = page.size(), length = 0;
    std::string_view put;
    for (const auto& [name, part] : parts) {
      const std::string mark = fmt::format("<!--{}-->", name);
      const size_t at = page.find(mark);
      if (at < first) first = at, length = mark.size(), put = part;
    }
    html += page.substr(0, first);
    html += put;
    page.remove_prefix(first + length);
  }
  return html;
}

std::string title_of(const std::vector<fs::path>& runs) {
  std::string title;
  for (const fs::path& run : runs)
    title += (title.empty() ? "" : ", ") + run.lexically_normal().string();
  return title;
}

// Whether the file is a page of ours, which may be replaced.
bool is_report(const fs::path& file) {
  constexpr std::string_view kSign = "<meta name=\"generator\" content=\"ddpm report\">";
  const io::InputFile input(file);
  std::vector<uint8_t> beginning(std::min<uint64_t>(input.size(), 512));
  input.read_at(0, beginning);
  return io::text_of(beginning).find(kSign) != std::string_view::npos;
}

}  // namespace

bool has_charts() { return !assets::kChart.empty(); }

Page page_of(const std::vector<fs::path>& runs) {
  if (!has_charts())
    throw Error(
        "ddpm was built without Chart.js, which draws the report: install the package "
        "libjs-chart.js, then configure and build again");
  Page page;
  Json data{{"program", std::string("ddpm ") + DDPM_VERSION},
            {"made", fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                                 fmt::gmtime(std::chrono::system_clock::to_time_t(
                                     std::chrono::system_clock::now())))},
            {"runs", Json::array()}};
  for (const fs::path& run : runs)
    data["runs"].push_back(read_run(run, runs.size(), page.warnings));
  data["warnings"] = page.warnings;
  const std::string title = html_text(title_of(runs)), text = script_data(data);
  page.html = filled(assets::kPage, {{"TITLE", title},
                                     {"STYLE", assets::kStyle},
                                     {"CHART", assets::kChart},
                                     {"DATA", text},
                                     {"CHARTS", assets::kCharts},
                                     {"SCRIPT", assets::kScript}});
  return page;
}

std::vector<std::string> write_report(const std::vector<fs::path>& runs, const fs::path& file) {
  if (fs::is_regular_file(file) && !is_report(file))
    throw IoError(file, "already exists and is not a report; name another file with --out");
  Page page = page_of(runs);
  io::write_file_atomic(file, page.html);
  return std::move(page.warnings);
}

}  // namespace ddpm::report
