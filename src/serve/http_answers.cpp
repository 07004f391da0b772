#include "http_answers.h"

#include "ddpm/base/text.h"
#include "ddpm/io/json_text.h"
#include "request.h"

#include <fmt/format.h>

namespace ddpm::serve {
namespace {

constexpr const char* kJson = "application/json";

}  // namespace

void answer(httplib::Response& res, int status, const nlohmann::ordered_json& json) {
  res.status = status;
  res.set_content(io::json_text(json) + "\n", kJson);
}

void refuse(httplib::Response& res, int status, const std::string& message) {
  answer(res, status, {{"error", message}});
}

// Without compression: it takes longer than the way through this machine.
void answer_text(httplib::Response& res, std::string_view text, const char* type) {
  if (text.empty()) return res.set_content("", type);  // a provider must have something
  res.set_content_provider(text.size(), type,
                           [text](size_t at, size_t length, httplib::DataSink& sink) {
                             return sink.write(text.data() + at, length);
                           });
}

void answer_png(httplib::Response& res, const std::shared_ptr<const Png>& png, bool lasts) {
  if (!png) throw Refused(404, "there is no such picture (yet)");
  if (lasts) {
    res.headers.erase("Cache-Control");
    res.set_header("Cache-Control", "private, max-age=86400, immutable");
  }
  res.set_content_provider(
      png->size(), "image/png", [png](size_t at, size_t length, httplib::DataSink& sink) {
        return sink.write(reinterpret_cast<const char*>(png->data()) + at, length);
      });
}

std::string text_of_status(int status) {
  switch (status) {
    case 400:
      return "the request is malformed";
    case 404:
      return "there is no such path; docs/serving.md lists them";
    case 413:
      return "the body is too large";
    case 414:
      return "the address is too long";
    default:
      return fmt::format("the request cannot be answered (status {})", status);
  }
}

std::string event_text(const char* name, const std::string& json) {
  return fmt::format("event: {}\ndata: {}\n\n", name, json);
}

void expect_json(const httplib::Request& req) {
  const std::string type = req.get_header_value("Content-Type");
  if (lowercase(type.substr(0, type.find(';'))) != kJson)
    throw Refused(415, "the body must be JSON: send the header Content-Type: application/json");
}

std::string body_of(const httplib::Response& res, const httplib::ContentReader& reader,
                    size_t most) {
  std::string body;
  bool fits = true;
  const bool whole = reader([&](const char* data, size_t size) {
    fits = fits && body.size() + size <= most;
    if (fits) body.append(data, size);
    return true;
  });
  if (!fits || (!whole && res.status == 413))
    throw Refused(413, fmt::format("the body is larger than {} bytes", most));
  if (!whole) throw Refused(400, "the body ends early");
  return body;
}

void skip_body(const httplib::Request& req, const httplib::ContentReader& reader) {
  if (req.is_multipart_form_data()) return;  // the library reads it into parts only
  reader([](const char*, size_t) { return true; });
}

}  // namespace ddpm::serve
