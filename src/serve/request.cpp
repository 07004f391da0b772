#include "request.h"

#include "base64.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::serve {
namespace {

using PlainJson = nlohmann::json;

constexpr int64_t kMaxPreviews = 100;
constexpr size_t kMaxClasses = 1000;
constexpr size_t kMaxName = 200;  // bytes of a name
constexpr size_t kMaxEnds = 100;
constexpr size_t kMaxNumbers = 1024;            // of a vector
constexpr int64_t kMaxSeed = int64_t{1} << 53;  // what JavaScript's numbers hold exactly
constexpr int64_t kMaxImage = int64_t{1} << 40;

// Those of every wish, and its own.
std::vector<std::string> known_keys(Wish wish) {
  std::vector<std::string> keys{"method", "steps", "eta",      "sigma",     "spacing", "guidance",
                                "class",  "seed",  "previews", "condition", "vector"};
  if (wish == Wish::kInterpolation)
    keys.insert(keys.end(), {"between", "frames"});
  else
    keys.emplace_back("num");
  if (wish == Wish::kInpainting) keys.insert(keys.end(), {"image", "mask", "rounds"});
  return keys;
}

[[noreturn]] void refuse(const std::string& key, const std::string& what) {
  throw Refused(400, fmt::format("{}: {}", key, what));
}

// A value for a message: short, and on one line.
std::string shown(const PlainJson& value) {
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

// A whole number in low..high; 50.0 is one.
int64_t whole(const std::string& key, const PlainJson& value, int64_t low, int64_t high) {
  const auto wrong = [&] {
    refuse(key,
           fmt::format("must be a whole number from {} to {}, not {}", low, high, shown(value)));
  };
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (!(std::abs(number) <= 1e15) || number != std::floor(number)) wrong();
  } else if (!value.is_number_integer() ||
             (value.is_number_unsigned() &&
              value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))) {
    wrong();
  }
  const auto number = value.get<int64_t>();
  if (number < low || number > high) wrong();
  return number;
}

double real(const std::string& key, const PlainJson& value, double low, double high) {
  if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
    refuse(key, fmt::format("must be a number from {} to {}, not {}", low, high, shown(value)));
  return value.get<double>();
}

std::string name(const std::string& key, const PlainJson& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty() ||
      value.get_ref<const std::string&>().size() > kMaxName)
    refuse(key, fmt::format("must be a name, not {}", shown(value)));
  return value.get<std::string>();
}

// One of the flag --class: a comma would separate two, and # would begin a number.
std::string class_word(const PlainJson& value) {
  if (value.is_number()) return fmt::format("#{}", whole("class", value, 0, 1'000'000));
  std::string word;
  for (const char c : name("class", value)) {
    if (c == ',' || c == '\\') word += '\\';
    word += c;
  }
  return word;
}

std::vector<std::string> class_words(const PlainJson& value) {
  if (!value.is_array()) return {class_word(value)};
  if (value.empty() || value.size() > kMaxClasses)
    refuse("class", fmt::format("must name 1 to {} classes, not {}", kMaxClasses, value.size()));
  std::vector<std::string> words;
  for (const PlainJson& item : value) words.push_back(class_word(item));
  return words;
}

Png picture(const std::string& key, const PlainJson& value) {
  const auto bytes =
      value.is_string() ? from_base64(value.get_ref<const std::string&>()) : std::nullopt;
  if (!bytes || bytes->empty())
    refuse(key, fmt::format("must be a PNG or JPEG in base64, as by base64 -w0 FILE, not {}",
                            shown(value)));
  return *bytes;
}

// 3, or {"seed": 5, "image": 3}.
WayEnd way_end(const PlainJson& value) {
  if (!value.is_object()) return {{}, whole("between", value, 0, kMaxImage)};
  WayEnd end;
  for (const auto& [key, number] : value.items()) {
    if (key == "seed")
      end.seed = whole("between.seed", number, 0, kMaxSeed);
    else if (key == "image")
      end.image = whole("between.image", number, 0, kMaxImage);
    else
      refuse("between", "an end is a number, or an object with seed and image only");
  }
  return end;
}

// As the flag --vector: {"age": 0.3} is "age=0.3", and [1, 0.3] is "1,0.3".
std::string vector_text(const PlainJson& value) {
  const bool fits = (value.is_object() || value.is_array()) && !value.empty() &&
                    value.size() <= kMaxNumbers &&
                    std::all_of(value.begin(), value.end(),
                                [](const PlainJson& item) { return item.is_number(); });
  if (!fits)
    refuse("vector", fmt::format("must be 1 to {} numbers, by name, as {{\"age\": 0.3}}, or all in "
                                 "order, as [1, 0.3], not {}",
                                 kMaxNumbers, shown(value)));
  std::vector<std::string> parts;
  for (const auto& [name, number] : value.items())
    parts.push_back(fmt::format("{}{}", value.is_object() ? name + "=" : "", number.get<double>()));
  return fmt::format("{}", fmt::join(parts, ","));
}

std::vector<WayEnd> way_ends(const PlainJson& value) {
  if (!value.is_array() || value.size() < 2 || value.size() > kMaxEnds)
    refuse("between",
           fmt::format("must list 2 to {} images, as [3, 17] or [{{\"seed\": 5, \"image\": 0}}, "
                       "{{\"seed\": 9, \"image\": 0}}]",
                       kMaxEnds));
  std::vector<WayEnd> ends;
  for (const PlainJson& item : value) ends.push_back(way_end(item));
  return ends;
}

void expect_known(const std::string& key, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), key) != known.end()) return;
  const std::string near = nearest(key, known);
  const std::string given = as_utf8(key.substr(0, kMaxName));
  throw Refused(400, near.empty()
                         ? fmt::format("{}: unknown key", shown(given))
                         : fmt::format("{}: unknown key; did you mean {}?", shown(given), near));
}

void take_(SampleRequest& request, const std::string& key, const PlainJson& value,
           int64_t max_images) {
  if (key == "method") request.method = name(key, value);
  if (key == "sigma") request.sigma = name(key, value);
  if (key == "spacing") request.spacing = name(key, value);
  if (key == "steps") request.steps = whole(key, value, 1, kMaxSteps);
  if (key == "eta") request.eta = real(key, value, 0, 1);
  if (key == "guidance") request.guidance = real(key, value, 0, 1000);
  if (key == "class") request.classes = class_words(value);
  if (key == "seed") request.seed = whole(key, value, 0, kMaxSeed);
  if (key == "num") request.num = whole(key, value, 1, max_images);
  if (key == "previews") request.previews = whole(key, value, 0, kMaxPreviews);
  if (key == "condition") request.condition = picture(key, value);
  if (key == "vector") request.vector = vector_text(value);
  if (key == "between") request.interpolation->between = way_ends(value);
  if (key == "frames") request.interpolation->frames = whole(key, value, 2, max_images);
  if (key == "image") request.inpainting->image = picture(key, value);
  if (key == "mask") request.inpainting->mask = picture(key, value);
  if (key == "rounds") request.inpainting->rounds = whole(key, value, 1, kMaxRounds);
}

// What the wish itself needs, once all keys are read.
void complete_(SampleRequest& request, int64_t max_images) {
  if (request.interpolation) {
    const Interpolation& way = *request.interpolation;
    if (way.between.empty()) refuse("between", "missing; list two images or more, as [3, 17]");
    if (way.frames < 2) refuse("frames", "this server makes one image at a time (--max-images 1)");
    request.num = (std::ssize(way.between) - 1) * (way.frames - 1) + 1;
    if (request.num > max_images)
      refuse("frames",
             fmt::format("{} from each of {} images to the next are {} images; at most {} "
                         "at a time",
                         way.frames, way.between.size(), request.num, max_images));
  }
  if (!request.inpainting) return;
  if (request.inpainting->image.empty())
    refuse("image", "missing; send the picture as a PNG or JPEG in base64");
  if (request.inpainting->mask.empty())
    refuse("mask", "missing; send a picture that is light where pixels are to be redrawn");
}

// Deep nesting costs stack; a request needs three levels.
PlainJson parsed(std::string_view body) {
  const auto no_deeper = [](int depth, PlainJson::parse_event_t, PlainJson&) {
    if (depth > 4) throw Refused(400, "the body is nested too deeply");
    return true;
  };
  try {
    return PlainJson::parse(body, no_deeper);
  } catch (const PlainJson::exception&) {
    throw Refused(400, "the body is not JSON; send an object, as {\"steps\": 50, \"num\": 4}");
  }
}

}  // namespace

SampleRequest parse_request(std::string_view body, Wish wish, int64_t max_images) {
  const PlainJson json = parsed(body);
  if (!json.is_object())
    throw Refused(400, "the body must be a JSON object, as {\"steps\": 50, \"num\": 4}");
  SampleRequest request;
  request.num = std::min(request.num, max_images);
  if (wish == Wish::kInterpolation) {
    request.interpolation.emplace();
    request.interpolation->frames = std::min(request.interpolation->frames, max_images);
  }
  if (wish == Wish::kInpainting) request.inpainting.emplace();
  const std::vector<std::string> known = known_keys(wish);
  for (const auto& [key, value] : json.items()) {
    expect_known(key, known);
    if (!value.is_null()) take_(request, key, value, max_images);
  }
  complete_(request, max_images);
  return request;
}

}  // namespace ddpm::serve
