#pragma once

#include "ddpm/serve/painter.h"

#include <memory>
#include <string>
#include <string_view>

#include <ddpm_httplib.h>
#include <nlohmann/json.hpp>

// How the server answers, and how it reads what is sent.

namespace ddpm::serve {

/// Answers with JSON.
void answer(httplib::Response& res, int status, const nlohmann::ordered_json& json);
/// Answers {"error": message}.
void refuse(httplib::Response& res, int status, const std::string& message);
/// Answers with a text that lasts as long as the program.
void answer_text(httplib::Response& res, std::string_view text, const char* type);
/// Answers with a picture. Throws Refused(404, ...) if it is null. `lasts`: a browser may keep it.
void answer_png(httplib::Response& res, const std::shared_ptr<const Png>& png, bool lasts);

/// The message for what the HTTP library refuses itself: a malformed request, no such path.
std::string text_of_status(int status);

/// One server-sent event.
std::string event_text(const char* name, const std::string& json);

/// Throws Refused(415, ...) if the body is not said to be JSON.
void expect_json(const httplib::Request& req);
/// The body of a request. Throws Refused(413, ...) if it has more than `most` bytes; they are read
/// all the same, so that the client sees the answer.
std::string body_of(const httplib::Response& res, const httplib::ContentReader& reader,
                    size_t most);
/// Reads the body and forgets it, so that the client sees the answer.
void skip_body(const httplib::Request& req, const httplib::ContentReader& reader);

}  // namespace ddpm::serve
