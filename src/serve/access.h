#pragma once

#include <string>
#include <string_view>

// Who may ask: no page of another origin, no name that leads here by DNS (rebinding), and nobody
// without the token.

namespace ddpm::serve {

/// The host of a Host header, without its port and brackets, in lower case; "" if it is malformed.
std::string host_of(std::string_view header);

/// Whether a request's Host header may come to a server that listens at `listening`. On a loopback
/// address only this machine's own names may: another name was led here by DNS.
bool is_allowed_host(std::string_view header, const std::string& listening);

/// Whether the Origin header ("" if there is none) is that of a page of this server itself.
bool is_own_origin(std::string_view origin, std::string_view host_header);

/// Whether the two are equal, in a time that does not tell where they differ.
bool equal_secrets(std::string_view a, std::string_view b);

/// The token in "Bearer TOKEN"; "" if it is another header.
std::string bearer_token(std::string_view authorization);

/// The value of a cookie in a Cookie header (RFC 6265, 5.4); "" if it is not there.
std::string cookie(std::string_view header, std::string_view name);

}  // namespace ddpm::serve
