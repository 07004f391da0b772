#include "networks_in.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;
using io::TorchValue;
using Tensors = std::vector<io::NamedTensor>;
using Names = std::vector<std::string>;

constexpr size_t kMaxNesting = 6;  // nested dicts; Lightning's have 2 levels

// Parts that wrappers add anywhere in names: torch.compile, FSDP, activation checkpointing.
constexpr std::array<std::string_view, 3> kWrappers = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                       "_checkpoint_wrapped_module."};

// A family of networks. Each of its networks has the tensor `anchor`, possibly with a prefix.
struct Family {
  const char* anchor;
  bool (*is_one)(const Tensors&);
};
constexpr std::array<Family, 6> kFamilies = {{{kOurAnchor, has_our_names},
                                              {"temb.dense.0.weight", is_ho_port},
                                              {"input_blocks.0.0.weight", is_openai},
                                              {"time_embedding.timembedding.1.weight", is_w86},
                                              {"in_conv.weight", is_tqch},
                                              {kLucidrainsAnchor, is_lucidrains}}};

struct Candidate {
  const TensorDict* dict;
  std::string prefix;  // including the dot
  Tensors tensors;     // names without prefix
  std::string name;    // see Model::weights_name
  bool copy = false;   // a copy of the raw weights, stored with their EMA
};

std::string without_wrappers(std::string name) {
  for (const std::string_view wrapper : kWrappers) {
    for (size_t at = name.find(wrapper); at != std::string::npos; at = name.find(wrapper, at)) {
      if (at > 0 && name[at - 1] != '.') {
        ++at;
      } else {
        name.erase(at, wrapper.size());
      }
    }
  }
  return name;
}

void collect(const TorchValue& value, Names path, std::vector<TensorDict>& dicts) {
  if (path.size() > kMaxNesting) return;
  TensorDict dict{path, {}, {}};
  for (const auto& [name, item] : value.entries) {
    if (item.is_tensor()) dict.tensors.push_back({without_wrappers(name), item.tensor});
    if (item.is_opaque()) dict.opaque.emplace_back(without_wrappers(name), item.text);
  }
  if (!dict.tensors.empty() || !dict.opaque.empty()) dicts.push_back(std::move(dict));
  for (const auto& [name, item] : value.entries) {
    if (!item.is_dict()) continue;
    Names inner = path;
    inner.push_back(name);
    collect(item, std::move(inner), dicts);
  }
}

// ermongroup/ddim saves a list: model, optimizer, epoch, step and, if enabled, EMA weights.
void collect_list(const TorchValue& list, std::vector<TensorDict>& dicts) {
  if (!list.items.empty()) collect(list.items[0], {"raw"}, dicts);
  if (list.items.size() > 4) collect(list.items[4], {"ema"}, dicts);
}

std::set<std::string> prefixes_of(const Tensors& tensors, std::string_view anchor) {
  std::set<std::string> prefixes;
  for (const io::NamedTensor& t : tensors) {
    if (!t.name.ends_with(anchor)) continue;
    const std::string prefix = t.name.substr(0, t.name.size() - anchor.size());
    if (prefix.empty() || prefix.ends_with('.')) prefixes.insert(prefix);
  }
  return prefixes;
}

Tensors under(const Tensors& tensors, const std::string& prefix,
              const std::set<std::string>& prefixes) {
  Tensors result;
  for (const io::NamedTensor& t : tensors) {
    const bool of_another =
        std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& other) {
          return other.size() > prefix.size() && t.name.starts_with(other);
        });
    if (t.name.starts_with(prefix) && !of_another)
      result.push_back({t.name.substr(prefix.size()), t.tensor});
  }
  return result;
}

std::vector<Candidate> candidates_in(const std::vector<TensorDict>& dicts) {
  std::vector<Candidate> found;
  for (const TensorDict& dict : dicts) {
    for (const Family& family : kFamilies) {
      const std::set<std::string> prefixes = prefixes_of(dict.tensors, family.anchor);
      for (const std::string& prefix : prefixes) {
        Candidate candidate{&dict, prefix, under(dict.tensors, prefix, prefixes), ""};
        if (family.is_one(candidate.tensors)) found.push_back(std::move(candidate));
      }
    }
  }
  return found;
}

// Names the candidates. "ema", "model_ema", "ema_model." and "shadow" mean EMA weights.
// ema-pytorch's "online_model." is a copy of the raw weights; it is dropped if they exist. If there
// are EMA weights, other weights are raw.
void name_them_(std::vector<Candidate>& candidates) {
  bool any = false;
  for (Candidate& c : candidates) {
    std::string words = fmt::format("{}.{}", fmt::join(c.dict->path, "."), c.prefix);
    std::replace(words.begin(), words.end(), '_', '.');
    for (size_t at = 0, end = 0; at < words.size(); at = end + 1) {
      end = std::min(words.find('.', at), words.size());
      const std::string word = words.substr(at, end - at);
      if (word.starts_with("ema") || word.starts_with("averag") || word == "shadow") c.name = "ema";
      if (word == "raw" || word == "online") c.name = "raw";
      c.copy = c.copy || word == "online";
    }
    any = any || c.name == "ema";
  }
  for (Candidate& c : candidates) {
    if (any && c.name.empty()) c.name = "raw";
  }
  const bool original = std::any_of(candidates.begin(), candidates.end(),
                                    [](const Candidate& c) { return c.name == "raw" && !c.copy; });
  if (original) std::erase_if(candidates, [](const Candidate& c) { return c.copy; });
}

// The candidates with the name `weights`; if it is "", the EMA weights if there are any.
std::vector<Candidate> chosen(std::vector<Candidate> all, std::string weights,
                              const fs::path& file) {
  const auto has = [&](const std::string& name) {
    return std::any_of(all.begin(), all.end(), [&](const auto& c) { return c.name == name; });
  };
  if (weights.empty()) weights = has("ema") ? "ema" : all.front().name;
  if (!has(weights)) expect_choice(weights, all.front().name, file);
  std::erase_if(all, [&](const Candidate& c) { return c.name != weights; });
  return all;
}

// For messages: its "model", names under "unet.".
std::string label_of(const Candidate& candidate) {
  const Names& path = candidate.dict->path;
  std::string label;
  if (!path.empty()) label = fmt::format("its \"{}\"", fmt::join(path, "\" \""));
  if (candidate.prefix.empty()) return label;
  return label + fmt::format("{}names under \"{}\"", label.empty() ? "" : ", ", candidate.prefix);
}

// Throws if a weight is not a tensor and would need a Python call.
void check_no_opaque(const Candidate& candidate, const fs::path& file) {
  for (const auto& [name, what] : candidate.dict->opaque) {
    if (!name.starts_with(candidate.prefix)) continue;
    if (!name.ends_with(".weight") && !name.ends_with(".bias")) continue;
    throw IoError(file, fmt::format("holds {} as {}, not as a tensor, and no code is run to make "
                                    "one of it; in Python, save the state dict alone: "
                                    "torch.save(model.state_dict(), \"weights.pt\")",
                                    name, what));
  }
}

// The common prefix of all names, up to a dot.
std::string common_prefix(const Tensors& tensors) {
  std::string prefix = tensors.front().name;
  for (const io::NamedTensor& t : tensors) {
    const auto differ = std::mismatch(prefix.begin(), prefix.end(), t.name.begin(), t.name.end());
    prefix.erase(differ.first, prefix.end());
  }
  const size_t dot = prefix.rfind('.');
  return dot == std::string::npos ? "" : prefix.substr(0, dot + 1);
}

[[noreturn]] void refuse_unknown(const std::vector<TensorDict>& dicts, const fs::path& file) {
  const bool tensors = std::any_of(dicts.begin(), dicts.end(),
                                   [](const auto& dict) { return !dict.tensors.empty(); });
  if (tensors) {
    const auto& most = *std::max_element(
        dicts.begin(), dicts.end(),
        [](const auto& a, const auto& b) { return a.tensors.size() < b.tensors.size(); });
    const std::string prefix = common_prefix(most.tensors);
    throw IoError(
        file, fmt::format("holds tensors of no network that is known ({} names{}, as \"{}\"); see "
                          "docs/exchange.md",
                          most.tensors.size(),
                          prefix.empty() ? "" : fmt::format(", all under \"{}\"", prefix),
                          most.tensors.front().name));
  }
  const bool object = !dicts.empty() && !dicts.front().opaque.empty();
  throw IoError(
      file, fmt::format("holds no state dict: no names with tensors{}",
                        object ? fmt::format(" (its \"{}\" is a {}, which is not read); in Python, "
                                             "save the state dict alone: "
                                             "torch.save(model.state_dict(), \"weights.pt\")",
                                             dicts.front().opaque.front().first,
                                             dicts.front().opaque.front().second)
                               : ""));
}

// Dicts of tensors with unknown names, for messages.
std::vector<Candidate> unknown_in(const std::vector<TensorDict>& dicts) {
  std::vector<Candidate> found;
  for (const TensorDict& dict : dicts) {
    if (dict.path.size() <= 1 && !dict.tensors.empty())
      found.push_back({&dict, "", dict.tensors, ""});
  }
  return found;
}

}  // namespace

std::vector<TensorDict> tensor_dicts(const TorchValue& value) {
  std::vector<TensorDict> dicts;
  if (value.is_opaque()) dicts.push_back({{}, {}, {{"whole content", value.text}}});
  if (value.is_list()) collect_list(value, dicts);
  collect(value, {}, dicts);
  return dicts;
}

TensorDict tensor_dict(Tensors tensors) {
  for (io::NamedTensor& t : tensors) t.name = without_wrappers(std::move(t.name));
  return {{}, std::move(tensors), {}};
}

StateDict choose_network(const std::vector<TensorDict>& dicts, const std::string& weights,
                         const fs::path& file) {
  if (!weights.empty() && weights != "ema" && weights != "raw")
    throw UsageError(fmt::format("--weights {}: {} has ema or raw", weights, file.string()));
  std::vector<Candidate> found = candidates_in(dicts);
  const bool known = !found.empty();
  if (!known) found = unknown_in(dicts);
  if (found.empty()) refuse_unknown(dicts, file);
  name_them_(found);
  found = chosen(std::move(found), weights, file);
  if (found.size() > 1 && !known) refuse_unknown(dicts, file);
  if (found.size() > 1) {
    Names labels;
    for (const Candidate& candidate : found) labels.push_back(label_of(candidate));
    throw UsageError(
        fmt::format("{} holds several networks ({}); in Python, save one of them alone",
                    file.string(), fmt::join(labels, "; ")));
  }
  Candidate& one = found.front();
  check_no_opaque(one, file);
  return {std::move(one.tensors), label_of(one), one.name};
}

StateDict network_in(Tensors tensors, const std::string& weights, const fs::path& file) {
  return choose_network({tensor_dict(std::move(tensors))}, weights, file);
}

void refuse_unknown_network(Tensors tensors, const fs::path& file) {
  refuse_unknown({tensor_dict(std::move(tensors))}, file);
}

}  // namespace ddpm::exchange
