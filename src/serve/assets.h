#pragma once

#include <string_view>

// Files that the build puts into the program (cmake/Serve.cmake).

namespace ddpm::serve::assets {

extern const std::string_view kPage;    ///< src/serve/page.html
extern const std::string_view kStyle;   ///< src/serve/page.css
extern const std::string_view kScript;  ///< src/serve/page.js
extern const std::string_view kWatch;   ///< src/serve/watch.js

}  // namespace ddpm::serve::assets
