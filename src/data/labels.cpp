#include "labels.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/dataset.h"
#include "ddpm/io/file.h"
#include "label_file.h"
#include "natural_order.h"

#include <algorithm>
#include <limits>
#include <map>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDatasetJson = "dataset.json";
constexpr size_t kMaxDigits = 6;  // of a class number: at most a million classes

struct NaturalLess {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};

std::vector<std::string> folders_of(const std::string& name) {
  std::vector<std::string> parts;
  std::stringstream stream(name);
  for (std::string part; std::getline(stream, part, '/');) parts.push_back(part);
  parts.pop_back();
  return parts;
}

std::string base_name(const std::string& name) { return name.substr(name.rfind('/') + 1); }

// Numbers the distinct names in natural order.
ImageLabels numbered(const std::vector<std::string>& class_of_each) {
  std::map<std::string, int64_t, NaturalLess> numbers;
  for (const std::string& name : class_of_each) numbers[name] = 0;
  ImageLabels result;
  for (auto& [name, number] : numbers) {
    number = static_cast<int64_t>(result.classes.size());
    result.classes.push_back(name);
  }
  for (const std::string& name : class_of_each) result.labels.push_back(numbers[name]);
  return result;
}

// "00000/img00000000.png": names by EDM's and StyleGAN's dataset_tool.py, a thousand per folder.
bool is_chunked(const std::vector<std::string>& names) {
  return !names.empty() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    const std::string_view v = name;
    return v.size() > 18 && is_digits(v.substr(0, 5)) && v.substr(5, 4) == "/img" &&
           is_digits(v.substr(9, 8)) && v[17] == '.';
  });
}

// The labels of a list for the existing images.
ImageLabels matched(const std::vector<FileLabel>& lines, bool are_numbers,
                    const std::vector<std::string>& names, const fs::path& list) {
  std::map<std::string, std::string> by_name, by_base;
  std::map<std::string, int64_t> bases;
  for (const FileLabel& line : lines) {
    const auto [known, is_new] = by_name.emplace(line.file, line.label);
    if (!is_new && known->second != line.label) {
      throw IoError(list, fmt::format("{} is of the classes {} and {}; a network learns one class "
                                      "per image",
                                      line.file, known->second, line.label));
    }
    by_base[base_name(line.file)] = line.label;
    if (is_new) ++bases[base_name(line.file)];
  }
  std::vector<std::string> found;
  for (const std::string& name : names) {
    auto label = by_name.find(name);
    if (label == by_name.end()) {  // a list may name files without their folders
      const std::string base = base_name(name);
      label = bases.contains(base) && bases[base] == 1 ? by_base.find(base) : by_base.end();
      if (label == by_base.end()) {
        throw IoError(list,
                      fmt::format("has no label for the image {}; add it, remove the image, or "
                                  "set data.labels to another source (\"none\": no labels)",
                                  name));
      }
    }
    found.push_back(label->second);
  }
  if (!are_numbers) return numbered(found);
  ImageLabels result;
  for (const std::string& label : found) {
    if (label.size() > kMaxDigits)
      throw IoError(list, fmt::format("holds the label {}, beyond a million classes", label));
    result.labels.push_back(std::stoll(label));
  }
  result.classes =
      numbered_classes(*std::max_element(result.labels.begin(), result.labels.end()) + 1);
  return result;
}

ImageLabels from_dataset_json(const std::vector<FileLabel>& lines,
                              const std::vector<std::string>& names, const fs::path& path) {
  if (lines.empty()) return {};  // "labels": null
  return matched(lines, /*are_numbers=*/true, names, path);
}

// A note if most images are in folders and some are not, which is easily overlooked.
std::string remark_of_stray(const std::vector<std::string>& names) {
  const auto in_folder = [](const std::string& name) { return name.find('/') != name.npos; };
  const auto stray = std::find_if_not(names.begin(), names.end(), in_folder);
  const auto count = std::count_if(names.begin(), names.end(), in_folder);
  if (stray == names.end() || count == 0) return "";
  return fmt::format(
      "the folders are no classes, as {} lies in none of them; move it into one to "
      "have classes",
      *stray);
}

// The file of an image's class beside it in a WebDataset: the name up to its first dot, and ".cls".
std::string class_file_of(const std::string& name) {
  const size_t base = name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1;
  return name.substr(0, name.find('.', base)) + ".cls";
}

// The class of each image from such files: numbers, or names. Throws IoError if one is missing.
ImageLabels from_class_files(const std::vector<std::string>& names, const LabelSource& source) {
  std::vector<FileLabel> labels;
  bool numbers = true;
  for (const std::string& name : names) {
    const auto text = source.find(class_file_of(name));
    if (!text)
      throw IoError(source.root, fmt::format("has no {} with the class of {}; add it, or set "
                                             "data.labels = \"none\"",
                                             class_file_of(name), name));
    const size_t end = text->find_last_not_of(" \r\n\t");
    const std::string label = text->substr(0, end == std::string::npos ? 0 : end + 1);
    if (label.empty()) throw IoError(source.root / class_file_of(name), "is empty");
    numbers = numbers && is_digits(label);
    labels.push_back({name, label});
  }
  return matched(labels, numbers, names, source.root);
}

// "shard-000.tar/cat/1.jpg" as "cat/1.jpg": an archive is no class.
std::vector<std::string> without_shards(const std::vector<std::string>& names) {
  std::vector<std::string> inner;
  for (const std::string& name : names) {
    const size_t end = name.find(".tar/");
    inner.push_back(end == std::string::npos || end > name.find('/') ? name : name.substr(end + 5));
  }
  return inner;
}

ImageLabels automatic(const std::vector<std::string>& names, const LabelSource& source) {
  std::string remark;
  if (const auto text = source.find(kDatasetJson)) {
    const auto lines = parse_dataset_json(*text, source.root / kDatasetJson);
    if (lines) return from_dataset_json(*lines, names, source.root / kDatasetJson);
    remark = "dataset.json is not used for classes: it has no \"labels\"";
  }
  if (!names.empty() && source.find(class_file_of(names.front())))
    return from_class_files(names, source);
  if (is_chunked(names))
    return {{}, {}, "the folders are the chunks of a dataset tool, no classes (no dataset.json)"};
  const std::vector<std::string> inner = without_shards(names);
  ImageLabels labels = labels_from_folders(inner);
  labels.remark = labels.labels.empty() ? remark_of_stray(inner) : remark;
  return labels;
}

// From the disk, or else from the data.
std::string read_list(const fs::path& path, const LabelSource& source, fs::path& found) {
  std::error_code error;
  found = path;
  if (fs::is_regular_file(path, error)) return io::read_text(path);
  found = source.root / path;
  if (const auto text = source.find(path.generic_string())) return *text;
  throw IoError(path, fmt::format("no such file, neither here nor in {}; set data.labels to auto, "
                                  "folders, prefix, none, or the path of a .csv, .tsv, .jsonl or "
                                  ".json file",
                                  source.root.string()));
}

ImageLabels from_list(const fs::path& path, const std::vector<std::string>& names,
                      const LabelSource& source) {
  fs::path found;
  const std::string text = read_list(path, source, found);
  const std::string ending = path.extension().string();
  if (ending == ".json") {
    const auto lines = parse_dataset_json(text, found);
    if (!lines) throw IoError(found, "has no \"labels\"");
    return from_dataset_json(*lines, names, found);
  }
  if (ending == ".jsonl") return matched(parse_label_lines(text, found), false, names, found);
  if (ending == ".csv" || ending == ".tsv" || ending == ".txt")
    return matched(parse_label_table(text, found), false, names, found);
  throw IoError(path, "is no list of labels by its ending; use .csv, .tsv, .jsonl or .json");
}

}  // namespace

ImageLabels labels_from_folders(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> folders;  // of each image, outermost first
  size_t depth = std::numeric_limits<size_t>::max();
  for (const std::string& name : names) {
    folders.push_back(folders_of(name));
    depth = std::min(depth, folders.back().size());
  }
  if (names.empty() || depth == 0) return {};
  size_t level = 0;
  const auto shared = [&] {
    return std::all_of(folders.begin(), folders.end(),
                       [&](const auto& f) { return f[level] == folders[0][level]; });
  };
  while (level + 1 < depth && shared()) ++level;
  std::vector<std::string> class_of_each;
  for (const auto& parts : folders) class_of_each.push_back(parts[level]);
  return numbered(class_of_each);
}

ImageLabels labels_from_prefixes(const std::vector<std::string>& names, const fs::path& root) {
  std::vector<std::string> class_of_each;
  for (const std::string& name : names) {
    const std::string base = base_name(name);
    const size_t end = base.find('_');
    if (end == 0 || end == std::string::npos) {
      throw IoError(root / name,
                    "has no class before a \"_\" in its name, as in cat_001.png; rename it, or set "
                    "data.labels to another source (\"none\": no labels)");
    }
    class_of_each.push_back(base.substr(0, end));
  }
  return numbered(class_of_each);
}

ImageLabels read_labels(const std::string& how, const std::vector<std::string>& names,
                        const LabelSource& source) {
  if (how == "none") return {};
  if (how == "auto") return automatic(names, source);
  if (how == "prefix") return labels_from_prefixes(names, source.root);
  if (how != "folders") return from_list(how, names, source);
  ImageLabels labels = labels_from_folders(without_shards(names));
  if (labels.labels.empty()) {
    const auto stray = std::find_if(names.begin(), names.end(), [](const std::string& name) {
      return name.find('/') == std::string::npos;
    });
    throw IoError(
        source.root / (stray == names.end() ? "" : *stray),
        "lies in no folder, but data.labels = \"folders\" makes folders the classes; move "
        "it into one, or set data.labels = \"none\"");
  }
  return labels;
}

}  // namespace ddpm::data
