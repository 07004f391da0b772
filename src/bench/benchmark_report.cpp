#include "ddpm/bench/benchmark.h"
#include "ddpm/io/json_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::bench {
namespace {

constexpr size_t kProfileRows = 25, kKernelRows = 40;

struct Label {
  const char* name;
  const char* text;
};

// The parts' names in the table.
constexpr Label kLabels[]{{"conv_forward", "its 3x3 convolutions alone"},
                          {"conv", "the same with backward"},
                          {"train", "training step"},
                          {"forward", "forward"},
                          {"sample", "sampling"},
                          {"data", "data, decoded anew"},
                          {"save", "checkpoint save"},
                          {"load", "checkpoint load"}};

std::string label_of(const std::string& name) {
  for (const Label& label : kLabels) {
    if (name == label.name) return label.text;
  }
  return name;
}

std::string row_of(const Report& report, const Part& part) {
  std::string row = fmt::format("{:<28} {:>10.1f} {:>6.1f} %", label_of(part.name),
                                1e3 * part.times.median(), 1e2 * part.times.spread());
  row += part.images > 0 ? fmt::format(" {:>11.2f}", part.images_per_s()) : std::string(12, ' ');
  if (part.flops > 0) row += fmt::format(" {:>9.1f}", part.gflops());
  if (const auto share = report.share(part)) row += fmt::format(" {:>7.2f}", *share);
  return row + "\n";
}

std::string profile_text(const std::map<std::string, OpTotal>& profile) {
  std::vector<std::pair<std::string, OpTotal>> rows(profile.begin(), profile.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.self_s > b.second.self_s; });
  double all = 0.0;
  for (const auto& [name, total] : rows) all += total.self_s;
  std::string text = fmt::format("\n{:<52} {:>7} {:>10} {:>8}\n", "one training step, by operation",
                                 "calls", "self ms", "share");
  for (size_t i = 0; i < std::min(rows.size(), kProfileRows); ++i) {
    const auto& [name, total] = rows[i];
    text += fmt::format("{:<52} {:>7} {:>10.2f} {:>6.1f} %\n", name.substr(0, 52), total.calls,
                        1e3 * total.self_s, 1e2 * total.self_s / all);
  }
  return text;
}

struct GroupTotal {
  int64_t calls = 0;
  double seconds = 0.0;
};

std::vector<std::pair<std::string, GroupTotal>> group_totals(const DeviceProfile& profile) {
  std::map<std::string, GroupTotal> totals;
  for (const KernelTotal& kernel : profile.kernels) {
    totals[kernel.group].calls += kernel.calls;
    totals[kernel.group].seconds += kernel.seconds;
  }
  std::vector<std::pair<std::string, GroupTotal>> rows(totals.begin(), totals.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  return rows;
}

std::string kernel_row(const std::string& name, int64_t calls, double seconds, double of) {
  return fmt::format("{:>9.3f} {:>6.1f} % {:>7}  {}\n", 1e3 * seconds, 1e2 * seconds / of, calls,
                     name);
}

std::string device_profile_text(const std::string& what, const DeviceProfile& profile) {
  std::string text = fmt::format(
      "\n{} on the GPU: {:.3f} ms, idle for {:.3f} of them\n{:>9} {:>8} {:>7}\n", what,
      1e3 * profile.span_s, 1e3 * (profile.span_s - profile.busy_s), "ms", "share", "kernels");
  for (const auto& [name, total] : group_totals(profile))
    text += kernel_row(name, total.calls, total.seconds, profile.span_s);
  text += "\n";
  for (size_t i = 0; i < std::min(profile.kernels.size(), kKernelRows); ++i) {
    const KernelTotal& kernel = profile.kernels[i];
    text += kernel_row(fmt::format("[{}] {}", kernel.group, kernel.name), kernel.calls,
                       kernel.seconds, profile.span_s);
  }
  return text;
}

nlohmann::ordered_json device_profile_json(const DeviceProfile& profile) {
  nlohmann::ordered_json json{{"span_s", profile.span_s}, {"busy_s", profile.busy_s}};
  for (const auto& [name, total] : group_totals(profile))
    json["groups"][name] = {{"calls", total.calls}, {"seconds", total.seconds}};
  for (const KernelTotal& kernel : profile.kernels) {
    json["kernels"].push_back({{"name", kernel.name},
                               {"group", kernel.group},
                               {"calls", kernel.calls},
                               {"seconds", kernel.seconds}});
  }
  return json;
}

nlohmann::ordered_json json_of(const Report& report, const Part& part) {
  nlohmann::ordered_json json{{"seconds", part.times.median()},
                              {"spread", part.times.spread()},
                              {"repeats", part.times.seconds.size()}};
  if (part.images > 0) json["images_per_s"] = part.images_per_s();
  if (part.flops > 0) json["gflops"] = part.gflops();
  if (const auto share = report.share(part)) json["share"] = *share;
  return json;
}

}  // namespace

std::string to_text(const Report& report) {
  std::string text = fmt::format(
      "{} parameters, {} on {} ({} CPU threads), batch {}; {:.2f} GFLOP an image forward, {:.2f} a "
      "training step; peak memory {:.0f} MiB\n\n{:<28} {:>10} {:>8} {:>11} {:>9} {:>7}\n",
      report.parameters, report.precision, report.device, report.threads, report.batch,
      report.forward_flops * 1e-9, 3 * report.forward_flops * 1e-9, report.memory_mib,
      "median of one run", "ms", "spread", "images/s", "GFLOP/s", "share");
  for (const Part& part : report.parts) text += row_of(report, part);
  if (const Part* sample = report.find("sample")) {
    text += fmt::format(
        "\nSampling: DDIM, {} network calls an image; {:.1f} calls of the batch a "
        "second.\n",
        report.sample_steps, static_cast<double>(report.sample_steps) / sample->times.median());
  }
  text +=
      "Share: of the rate of the 3x3 convolutions. Spread: half the distance of the quartiles.\n";
  for (const auto& [what, profile] : report.device_profiles)
    text += device_profile_text(what, profile);
  if (!report.profile.empty()) text += profile_text(report.profile);
  return text;
}

std::string to_json(const Report& report) {
  nlohmann::ordered_json json{
      {"device", report.device},         {"threads", report.threads},
      {"precision", report.precision},   {"batch", report.batch},
      {"parameters", report.parameters}, {"forward_gflop", report.forward_flops * 1e-9},
      {"memory_mib", report.memory_mib}};
  for (const Part& part : report.parts) {
    if (part.name.starts_with("conv")) {
      json[part.name + "_gflops"] = part.gflops();
    } else {
      json[part.name] = json_of(report, part);
    }
  }
  if (report.find("sample")) json["sample"]["steps"] = report.sample_steps;
  for (const auto& [name, total] : report.profile) {
    json["profile"][name] = {{"calls", total.calls}, {"self_s", total.self_s}};
  }
  for (const auto& [what, profile] : report.device_profiles)
    json["device_profile"][what] = device_profile_json(profile);
  return io::json_text(json);
}

}  // namespace ddpm::bench
