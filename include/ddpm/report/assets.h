#pragma once

#include <string_view>

// Files that the build puts into the program (cmake/Report.cmake).

namespace ddpm::report::assets {

extern const std::string_view kPage;    ///< src/report/page.html
extern const std::string_view kStyle;   ///< src/report/page.css
extern const std::string_view kCharts;  ///< src/report/charts.js
extern const std::string_view kScript;  ///< src/report/page.js
extern const std::string_view kChart;   ///< Chart.js, minified; "" if it was not found

}  // namespace ddpm::report::assets
