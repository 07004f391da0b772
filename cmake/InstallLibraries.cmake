# Copies the shared libraries that PROGRAM and, if it is installed, LIBRARY need to PREFIX/lib/ddpm: those that are neither LibTorch's (below TORCH or
# NVIDIA) nor part of every Linux with a new enough glibc.
set(of_every_linux "^(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libutil|libgcc_s|libstdc\\+\\+)[-.]")
set(libraries "")
if(EXISTS "${PREFIX}/lib/${LIBRARY_NAME}")
  set(libraries LIBRARIES "${LIBRARY}")
endif()
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES "${PROGRAM}" ${libraries}
  RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "${of_every_linux}" "^lib(torch|c10|cu|nv|nccl)" "^libgomp"
  POST_EXCLUDE_REGEXES "^${TORCH}/" "^${NVIDIA}/.")
if(missing)
  message(FATAL_ERROR "these shared libraries of ${PROGRAM} were not found: ${missing}")
endif()
file(MAKE_DIRECTORY "${PREFIX}/lib/ddpm")
foreach(library IN LISTS found)
  file(REAL_PATH "${library}" real)
  get_filename_component(name "${library}" NAME)
  message(STATUS "Installing: ${PREFIX}/lib/ddpm/${name}")
  file(COPY_FILE "${real}" "${PREFIX}/lib/ddpm/${name}")
  # Debian's packages: lib/x86_64-linux-gnu/libzip.so.4 -> share/doc/libzip4/copyright
  execute_process(COMMAND dpkg-query --search "${real}" OUTPUT_VARIABLE owner ERROR_QUIET RESULT_VARIABLE status)
  if(NOT status EQUAL 0)  # a merged /usr: the package names the other path
    string(REGEX REPLACE "^/usr/" "/" other "${real}")
    execute_process(COMMAND dpkg-query --search "${other}" OUTPUT_VARIABLE owner ERROR_QUIET RESULT_VARIABLE status)
  endif()
  if(status EQUAL 0 AND owner MATCHES "^([^:,]+)")
    set(copyright "/usr/share/doc/${CMAKE_MATCH_1}/copyright")
    if(EXISTS "${copyright}")
      file(INSTALL "${copyright}" DESTINATION "${PREFIX}/share/doc/ddpm/licences/${CMAKE_MATCH_1}")
    endif()
  endif()
endforeach()
