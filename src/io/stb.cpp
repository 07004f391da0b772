// The one place that compiles the stb single-header libraries.
#include "stb_limit.h"

#include <cstdlib>
#include <limits>

namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
thread_local size_t stb_limit = kNoLimit;

void* limited_realloc(void* block, size_t bytes) {
  return bytes > stb_limit ? nullptr : std::realloc(block, bytes);
}

}  // namespace

namespace ddpm::io {

StbLimit::StbLimit(size_t bytes) { stb_limit = bytes; }
StbLimit::~StbLimit() { stb_limit = kNoLimit; }

}  // namespace ddpm::io

#define STBI_MALLOC(bytes) limited_realloc(nullptr, bytes)
#define STBI_REALLOC(block, bytes) limited_realloc(block, bytes)
#define STBI_FREE(block) std::free(block)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_TGA
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_WRITE_NO_STDIO

#include <stb_image.h>
#include <stb_image_write.h>
