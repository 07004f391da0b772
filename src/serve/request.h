#pragma once

#include "ddpm/base/error.h"
#include "ddpm/serve/painter.h"

#include <cstdint>
#include <string_view>

namespace ddpm::serve {

/// A request that is refused, with its HTTP status. The message is one line for a person.
class Refused : public Error {
 public:
  Refused(int status, const std::string& message) : Error(message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

/// Most steps of a request, whatever the network.
inline constexpr int64_t kMaxSteps = 100'000;

/// Most rounds of inpainting: a job that is cancelled ends its step first.
inline constexpr int64_t kMaxRounds = 100;

/// What a request asks for, by its path.
enum class Wish { kSamples, kInterpolation, kInpainting };

/// The body of POST /v1/samples, /v1/interpolations or /v1/inpaintings. Throws Refused(400, ...),
/// which names the key, if it is not a JSON object, or a key is missing, unknown, of another type or
/// out of range. Pictures are decoded from base64 and not looked at.
SampleRequest parse_request(std::string_view body, Wish wish, int64_t max_images);

}  // namespace ddpm::serve
