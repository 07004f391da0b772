#include "ddpm/eval/self_check.h"

#include "check_network.h"
#include "check_order.h"
#include "check_row.h"
#include "check_sampling.h"
#include "check_schedule.h"
#include "checked_parts.h"
#include "ddpm/sample/reverse_process.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

// One part of a check.
struct Part {
  std::string group, title;
  std::function<std::vector<CheckRow>()> rows;
};

std::vector<Part> parts_of(const CheckContext& context) {
  const auto part = [&](const char* group, const char* title,
                        std::vector<CheckRow> (*rows)(const CheckContext&)) {
    return Part{group, title, [=, &context] { return rows(context); }};
  };
  std::vector<Part> parts{part("network", "one call", &network_rows),
                          part("guidance", "guidance", &guidance_rows),
                          part("predictions", "readings of the output", &reading_rows),
                          part("predictions", "restated outputs", &prediction_rows),
                          part("methods", "equal methods", &method_rows),
                          part("round trip", "encoding and decoding", &round_trip_rows)};
  const auto orders = std::make_shared<std::unique_ptr<OrderCheck>>();
  for (const OrderedMethod& method : ordered_methods())
    parts.push_back({"orders", fmt::format("order of {}", method.name), [=, &context] {
                       if (!*orders) *orders = std::make_unique<OrderCheck>(context);
                       return std::vector{(*orders)->row(method)};
                     }});
  return parts;
}

void append_(std::vector<CheckRow>& rows, const std::vector<CheckRow>& more) {
  rows.insert(rows.end(), more.begin(), more.end());
}

std::vector<CheckRow> rows_of(const Part& part) {
  try {
    return part.rows();
  } catch (const sample::NotFinite& error) {
    CheckRow row = left_out(part.group, part.title, error.what());
    row.verdict = Verdict::kFailed;
    return {row};
  }
}

std::string number(double value) { return std::isnan(value) ? "" : fmt::format("{:.3g}", value); }

}  // namespace

std::vector<CheckRow> run_self_check(const CheckSubject& subject, const CheckOptions& options) {
  return run_self_check(subject, options, CheckedParts{});
}

std::vector<CheckRow> run_self_check(const CheckSubject& subject, const CheckOptions& options,
                                     const CheckedParts& checked) {
  TORCH_CHECK(subject.x_T.size(0) >= 2 && subject.x_T.scalar_type() == torch::kDouble,
              "a self-check needs two images or more in float64");
  TORCH_CHECK(options.steps >= 2, "a self-check needs two steps or more");
  const torch::NoGradGuard no_grad;
  const CheckContext context{subject, options, checked};
  std::vector<CheckRow> rows = schedule_rows(context);
  append_(rows, variance_rows(context));
  const std::vector<CheckRow> finite = finite_rows(context);
  append_(rows, finite);
  if (!failures(finite).empty()) {
    rows.push_back(left_out("network", "all other rows", "the output is not finite"));
    return rows;
  }
  const std::vector<Part> parts = parts_of(context);
  const int64_t total = std::ssize(parts);
  for (int64_t i = 0; i < total; ++i) {
    const Part& part = parts[static_cast<size_t>(i)];
    if (options.progress) options.progress(part.title, i, total);
    append_(rows, rows_of(part));
  }
  return rows;
}

std::string allowed_text(const CheckRow& row) {
  const bool below = std::isfinite(row.high), above = std::isfinite(row.low);
  if (row.verdict == Verdict::kNoted || row.verdict == Verdict::kLeftOut || (!below && !above))
    return "";
  if (!below) return fmt::format(">= {:.3g}", row.low);
  if (row.high == 0 || row.low == row.high) return fmt::format("{:.3g}", row.high);
  return fmt::format("<= {:.3g}", row.high);
}

std::string to_text(const std::vector<CheckRow>& rows) {
  constexpr const char* kLine = "{:<11} {:<47} {:>8} {:>9} {:>9}  {}";
  std::string text =
      fmt::format(fmt::runtime(kLine), "", "", "expected", "allowed", "found", "") + "\n";
  std::string group;
  for (const CheckRow& row : rows) {
    text += fmt::format(fmt::runtime(kLine), row.group == group ? "" : row.group, row.name,
                        number(row.expected), allowed_text(row), number(row.found),
                        config::to_string(row.verdict));
    constexpr size_t kShort = 30;  // stays on the line
    if (!row.note.empty())
      text += (row.note.size() <= kShort ? "  " : "\n" + std::string(14, ' ')) + row.note;
    text += "\n";
    group = row.group;
  }
  return text;
}

std::vector<CheckRow> failures(const std::vector<CheckRow>& rows) {
  std::vector<CheckRow> failed;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(failed),
               [](const CheckRow& row) { return row.verdict == Verdict::kFailed; });
  return failed;
}

}  // namespace ddpm::eval
