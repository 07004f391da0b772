#include "log_events.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>

namespace ddpm::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostEvents = 1000;

// "[2026-01-31 12:00:00] warning text": train_command's log_to_file.
struct LogLine {
  std::string time, level, text;
};

std::optional<LogLine> parsed(const std::string& line) {
  constexpr size_t kTime = 19;
  if (line.size() < kTime + 3 || line[0] != '[' || line.compare(kTime + 1, 2, "] ") != 0)
    return std::nullopt;
  const size_t space = line.find(' ', kTime + 3);
  if (space == std::string::npos) return std::nullopt;
  return LogLine{line.substr(1, kTime), line.substr(kTime + 3, space - kTime - 3),
                 line.substr(space + 1)};
}

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
    const auto line = parsed(text);
    if (!line) continue;
    if (const int64_t named = step_of(*line); named >= 0) step = named;
    const std::string kind = kind_of(*line);
    if (kind == "start") events.clear();
    if (kind.empty() || events.size() >= kMostEvents) continue;
    events.push_back({{"step", step}, {"time", line->time}, {"kind", kind}, {"text", line->text}});
  }
  return events;
}

}  // namespace ddpm::report
