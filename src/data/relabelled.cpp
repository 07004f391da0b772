#include "ddpm/data/relabelled.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/base/utf8.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// As a network's description holds them.
std::vector<std::string> written(std::vector<std::string> names) {
  for (std::string& name : names) name = as_utf8(name);
  return names;
}

bool are_numbers(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
  });
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  if (names.empty()) return "";
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + std::min(kShown, names.size()));
  return fmt::format(" ({}{})", fmt::join(first, ", "), names.size() > kShown ? ", ..." : "");
}

class Relabelled final : public Dataset {
 public:
  Relabelled(std::shared_ptr<const Dataset> whole, std::vector<int64_t> numbers, KnownClasses known)
      : whole_(std::move(whole)), numbers_(std::move(numbers)), known_(std::move(known)) {
    TORCH_CHECK(static_cast<int64_t>(numbers_.size()) == whole_->class_count(), numbers_.size(),
                " numbers for ", whole_->class_count(), " classes");
  }

  int64_t size() const override { return whole_->size(); }
  ImageShape shape() const override { return whole_->shape(); }
  int64_t class_count() const override { return known_.count; }
  std::vector<std::string> class_names() const override { return known_.names; }
  Example get(int64_t index) const override { return numbered(whole_->get(index)); }
  Example get_uncropped(int64_t index) const override {
    return numbered(whole_->get_uncropped(index));
  }
  std::optional<ImageShape> uncropped_shape() const override { return whole_->uncropped_shape(); }
  SizeRange source_sizes() const override { return whole_->source_sizes(); }
  std::vector<std::string> skipped() const override { return whole_->skipped(); }
  std::map<std::string, int64_t> passed_over() const override { return whole_->passed_over(); }
  std::vector<std::string> remarks() const override { return whole_->remarks(); }
  void save_index(const std::filesystem::path& file) const override { whole_->save_index(file); }
  std::string fingerprint() const override { return whole_->fingerprint(); }
  std::string description() const override { return whole_->description(); }

 private:
  Example numbered(Example example) const {
    if (example.label >= 0) example.label = numbers_.at(static_cast<size_t>(example.label));
    return example;
  }

  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> numbers_;
  KnownClasses known_;
};

}  // namespace

std::vector<int64_t> class_numbers(const std::vector<std::string>& classes,
                                   const KnownClasses& known) {
  const std::vector<std::string> names = written(classes), known_names = written(known.names);
  std::vector<int64_t> numbers;
  for (const std::string& name : names) {
    const auto found = std::find(known_names.begin(), known_names.end(), name);
    if (found != known_names.end()) numbers.push_back(found - known_names.begin());
  }
  if (numbers.size() == names.size()) return numbers;
  const auto count = static_cast<int64_t>(names.size());
  const bool by_number = are_numbers(names) || are_numbers(known_names);  // also if there are none
  if (count == known.count || (count < known.count && by_number)) {
    numbers.resize(names.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }
  throw Error(fmt::format("the data has {}{}, the network knows {}{}",
                          ddpm::counted(count, "class"), listed(names), known.count,
                          listed(known_names)));
}

std::shared_ptr<const Dataset> relabelled(std::shared_ptr<const Dataset> dataset,
                                          std::vector<int64_t> numbers, KnownClasses known) {
  return std::make_shared<Relabelled>(std::move(dataset), std::move(numbers), std::move(known));
}

Split relabelled(const Split& split, const std::vector<int64_t>& numbers,
                 const KnownClasses& known) {
  Split result{relabelled(split.training, numbers, known), nullptr};
  if (split.held_out) result.held_out = relabelled(split.held_out, numbers, known);
  return result;
}

}  // namespace ddpm::data
