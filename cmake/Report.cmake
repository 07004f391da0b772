# The files of the page of `ddpm report`, put into ddpm_report: src/report/page.{html,css,js} and charts.js, and Chart.js (MIT, of the
# Debian package libjs-chart.js), without which the program builds but makes no report.
include(Embed)
find_file(DDPM_CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js /usr/local/share/javascript/chart.js
  NO_DEFAULT_PATH DOC "Chart.js 3 or newer, minified")
if(DDPM_CHART_JS)
  message(STATUS "Chart.js for ddpm report: ${DDPM_CHART_JS}")
else()
  message(STATUS "Chart.js for ddpm report: not found, so there are no reports; install libjs-chart.js or set DDPM_CHART_JS")
endif()

set(page "${PROJECT_SOURCE_DIR}/src/report/page")
set(chart "${DDPM_CHART_JS}")
if(NOT chart)
  set(chart "-")
endif()
ddpm_embed(report HEADER ddpm/report/report.h FILES kPage "${page}.html" kStyle "${page}.css"
  kCharts "${PROJECT_SOURCE_DIR}/src/report/charts.js" kScript "${page}.js" kChart "${chart}")
target_compile_definitions(ddpm_report PRIVATE DDPM_VERSION="${PROJECT_VERSION}")
