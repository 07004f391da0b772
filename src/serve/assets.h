#pragma once

#include <string_view>

// Files that the build puts into the program (cmake/Serve.cmake).

namespace ddpm::serve::assets {

extern const std::string_view kPage;     ///< src/serve/page.html
extern const std::string_view kStyle;    ///< src/serve/page.css
extern const std::string_view kCommon;   ///< src/serve/common.js
extern const std::string_view kRegion;   ///< src/serve/region.js
extern const std::string_view kPicture;  ///< src/serve/picture.js
extern const std::string_view kForm;     ///< src/serve/form.js
extern const std::string_view kJobs;     ///< src/serve/jobs.js
extern const std::string_view kWatch;    ///< src/serve/watch.js
extern const std::string_view kScript;   ///< src/serve/page.js

}  // namespace ddpm::serve::assets
