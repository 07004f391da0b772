# cmake -DOUTPUT=assets.cpp -DHEADER=ddpm/report/report.h -DNAMESPACE=ddpm::report::assets -DNAMES=kName,...
#   -DkName=FILE... -P EmbedFiles.cmake: a C++ source with the files as std::string_view constants of that header; an
# empty FILE is "".
set(text "// Made by cmake/EmbedFiles.cmake.\n#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n\n")
string(REPLACE "," ";" names "${NAMES}")
foreach(name IN LISTS names)
  set(content "")
  if(${name})
    file(READ "${${name}}" content)
  endif()
  string(FIND "${content}" ")ddpm_asset\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${${name}} contains the end of a raw string, )ddpm_asset\"")
  endif()
  string(APPEND text "const std::string_view ${name} = R\"ddpm_asset(${content})ddpm_asset\";\n\n")
endforeach()
string(APPEND text "}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${text}")
