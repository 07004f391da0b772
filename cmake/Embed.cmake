# ddpm_embed(module HEADER header FILES kName file...): puts files into the module ddpm_<module> as the
# std::string_view constants that the header declares in ddpm::<module>::assets. The file - is an empty text.
function(ddpm_embed module)
  cmake_parse_arguments(arg "" "HEADER" "FILES" ${ARGN})
  set(assets "${PROJECT_BINARY_DIR}/${module}_assets.cpp")
  set(names "")
  set(definitions "")
  set(files "")
  while(arg_FILES)
    list(POP_FRONT arg_FILES name file)
    list(APPEND names ${name})
    if(file STREQUAL "-")
      set(file "")
    endif()
    list(APPEND definitions "-D${name}=${file}")
    list(APPEND files ${file})
  endwhile()
  list(JOIN names "," names)
  add_custom_command(OUTPUT "${assets}"
    COMMAND "${CMAKE_COMMAND}" "-DOUTPUT=${assets}" "-DHEADER=${arg_HEADER}" "-DNAMESPACE=ddpm::${module}::assets"
      "-DNAMES=${names}" ${definitions} -P "${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake"
    DEPENDS ${files} "${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake"
    VERBATIM)
  target_sources(ddpm_${module} PRIVATE "${assets}")
  target_include_directories(ddpm_${module} PRIVATE "${PROJECT_SOURCE_DIR}/src/${module}")
  set_source_files_properties("${assets}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
endfunction()
