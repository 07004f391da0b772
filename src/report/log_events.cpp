#include "log_events.h"

#include "ddpm/base/log_line.h"

#include <charconv>
#include <cstdint>
#include <sstream>
#include <string>

namespace ddpm::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxEvents = 1000;

// The number behind the first `before` in the text; -1 if there is none.
int64_t number_after(const std::string& text, std::string_view before) {
  const size_t at = text.find(before);
  int64_t value = -1;
  if (at != std::string::npos)
    std::from_chars(text.data() + at + before.size(), text.data() + text.size(), value);
  return value;
}

std::string kind_of(const LogLine& line) {
  const std::string& text = line.text;
  if (text.find("updates skipped") != std::string::npos) return "skipped";
  if (line.level == "warning") return "warning";
  if (line.level == "error" || line.level == "critical") return "error";
  if (text.starts_with("resumed from ")) return "restart";
  if (text.starts_with("starting at step 0")) return "start";
  if (text.starts_with("stopped ")) return "stop";
  if (text.starts_with("finished ")) return "end";
  return "";
}

// The step that the line names; -1 if it names none.
int64_t step_of(const LogLine& line) {
  if (line.text.starts_with("step ")) return number_after(line.text, "step ");
  if (line.text.starts_with("resumed from ")) return number_after(line.text, "(step ");
  if (line.text.starts_with("stopped ")) return number_after(line.text, "saved at step ");
  return line.text.starts_with("starting at step 0") ? 0 : -1;
}

}  // namespace

Json log_events(std::string_view log) {
  Json events = Json::array();
  std::istringstream in{std::string(log)};
  int64_t step = 0;
  for (std::string text; std::getline(in, text);) {
    const auto line = parse_log_line(text);
    if (!line) continue;
    if (const int64_t named = step_of(*line); named >= 0) step = named;
    const std::string kind = kind_of(*line);
    if (kind == "start") events.clear();
    if (kind.empty() || events.size() >= kMaxEvents) continue;
    events.push_back({{"step", step}, {"time", line->time}, {"kind", kind}, {"text", line->text}});
  }
  return events;
}

}  // namespace ddpm::report
