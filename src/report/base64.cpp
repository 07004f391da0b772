#include "base64.h"

#include <openssl/evp.h>

namespace ddpm::report {

std::string base64(std::span<const uint8_t> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and a final zero
  text.resize(static_cast<size_t>(::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                    bytes.data(), static_cast<int>(bytes.size()))));
  return text;
}

}  // namespace ddpm::report
