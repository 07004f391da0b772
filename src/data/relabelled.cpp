#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/view.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// As in a network's description.
std::vector<std::string> written(std::vector<std::string> names) {
  for (std::string& name : names) name = as_utf8(name);
  return names;
}

bool are_numbers(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(), is_digits);
}

std::string listed(const std::vector<std::string>& names) {
  return names.empty() ? "" : fmt::format(" ({})", name_list(names));
}

class Relabelled final : public View {
 public:
  Relabelled(std::shared_ptr<const Dataset> whole, std::vector<int64_t> numbers, KnownClasses known)
      : View(std::move(whole)), numbers_(std::move(numbers)), known_(std::move(known)) {
    const int64_t classes = View::class_count();
    TORCH_CHECK(static_cast<int64_t>(numbers_.size()) == classes, numbers_.size(), " numbers for ",
                classes, " classes");
  }

  int64_t class_count() const override { return known_.count; }
  std::vector<std::string> class_names() const override { return known_.names; }
  Example get(int64_t index) const override { return numbered(whole().get(index)); }
  Example get_uncropped(int64_t index) const override {
    return numbered(whole().get_uncropped(index));
  }

 private:
  Example numbered(Example example) const {
    if (example.label >= 0) example.label = numbers_.at(static_cast<size_t>(example.label));
    return example;
  }

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
