#include "access.h"

#include "ddpm/base/text.h"
#include "ddpm/serve/server.h"

#include <algorithm>

#include <arpa/inet.h>
#include <openssl/crypto.h>

namespace ddpm::serve {

bool is_loopback(const std::string& host) {
  if (lowercase(host) == "localhost") return true;
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six{};
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

std::string host_of(std::string_view header) {
  std::string_view host = header;
  std::string_view port;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return "";
    port = host.substr(end + 1);
    host = host.substr(1, end - 1);
  } else if (const size_t colon = host.find(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!port.empty() &&
      (port[0] != ':' || port.size() > 6 || !std::all_of(port.begin() + 1, port.end(), is_digit)))
    return "";
  return lowercase(host);
}

bool is_allowed_host(std::string_view header, const std::string& listening) {
  const std::string host = host_of(header);
  return !host.empty() && (!is_loopback(listening) || is_loopback(host));
}

bool is_own_origin(std::string_view origin, std::string_view host_header) {
  if (origin.empty()) return true;
  for (const std::string_view scheme : {"http://", "https://"})
    if (origin.starts_with(scheme))
      return lowercase(origin.substr(scheme.size())) == lowercase(host_header);
  return false;
}

bool equal_secrets(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string bearer_token(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (lowercase(authorization.substr(0, kScheme.size())) != kScheme) return "";
  return std::string(authorization.substr(kScheme.size()));
}

std::string cookie(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const size_t end = std::min(header.find(';'), header.size());
    std::string_view pair = header.substr(0, end);
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return std::string(pair.substr(name.size() + 1));
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return "";
}

}  // namespace ddpm::serve
