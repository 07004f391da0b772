# The files of the page of `ddpm serve`, put into ddpm_serve. Chart.js and the charts are those of ddpm_report.
include(Embed)
set(page "${PROJECT_SOURCE_DIR}/src/serve/page")
ddpm_embed(serve HEADER assets.h FILES kPage "${page}.html" kStyle "${page}.css" kScript "${page}.js"
  kWatch "${PROJECT_SOURCE_DIR}/src/serve/watch.js")
# Its headers take longer than the rest of the module.
set_source_files_properties(src/serve/http_server.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
target_compile_definitions(ddpm_serve PRIVATE DDPM_VERSION="${PROJECT_VERSION}")
