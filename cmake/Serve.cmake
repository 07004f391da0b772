# The files of the page of `ddpm serve`, put into ddpm_serve. Chart.js and the charts are those of ddpm_report.
include(Embed)
set(page "${PROJECT_SOURCE_DIR}/src/serve")
ddpm_embed(serve HEADER assets.h FILES kPage "${page}/page.html" kStyle "${page}/page.css" kCommon "${page}/common.js"
  kRegion "${page}/region.js" kPicture "${page}/picture.js" kForm "${page}/form.js" kJobs "${page}/jobs.js"
  kWatch "${page}/watch.js" kScript "${page}/page.js")
# Its headers take longer than the rest of the module.
set_source_files_properties(src/serve/http_server.cpp src/serve/http_answers.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
target_compile_definitions(ddpm_serve PRIVATE DDPM_VERSION="${PROJECT_VERSION}")
