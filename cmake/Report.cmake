# The files of the page of `ddpm report`, put into ddpm_report: src/report/page.{html,css,js} and charts.js, and Chart.js (MIT, of the
# Debian package libjs-chart.js), without which the program builds but makes no report.
find_file(DDPM_CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js /usr/local/share/javascript/chart.js
  NO_DEFAULT_PATH DOC "Chart.js 3 or newer, minified")
if(DDPM_CHART_JS)
  message(STATUS "Chart.js for ddpm report: ${DDPM_CHART_JS}")
else()
  message(STATUS "Chart.js for ddpm report: not found, so there are no reports; install libjs-chart.js or set DDPM_CHART_JS")
endif()

set(assets "${PROJECT_BINARY_DIR}/report_assets.cpp")
set(page "${PROJECT_SOURCE_DIR}/src/report/page")
set(charts "${PROJECT_SOURCE_DIR}/src/report/charts.js")
set(chart "${DDPM_CHART_JS}")
if(NOT chart)
  set(chart "")
endif()
add_custom_command(OUTPUT "${assets}"
  COMMAND "${CMAKE_COMMAND}" "-DOUTPUT=${assets}" "-DkPage=${page}.html" "-DkStyle=${page}.css"
    "-DkCharts=${charts}" "-DkScript=${page}.js" "-DkChart=${chart}" -P "${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake"
  DEPENDS "${page}.html" "${page}.css" "${page}.js" "${charts}" ${chart} "${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake"
  VERBATIM)
target_sources(ddpm_report PRIVATE "${assets}")
target_include_directories(ddpm_report PRIVATE "${PROJECT_SOURCE_DIR}/src/report")
set_source_files_properties("${assets}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
target_compile_definitions(ddpm_report PRIVATE DDPM_VERSION="${PROJECT_VERSION}")
