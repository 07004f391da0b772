# libddpm.so: the modules below the commands as one library, for other C++ programs (find_package(ddpm)) and for
# Python. Sets DDPM_LIBRARY_MODULES.
set(DDPM_LIBRARY_MODULES base config io kernels dist diffusion nn data sample checkpoint train eval exchange pipeline)
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/library.cpp" CONTENT "// libddpm.so consists of the modules' archives.\n")
add_library(ddpm_library SHARED "${PROJECT_BINARY_DIR}/library.cpp")
list(TRANSFORM DDPM_LIBRARY_MODULES PREPEND ddpm_ OUTPUT_VARIABLE archives)
list(APPEND archives ddpm_python)
list(JOIN archives "," joined)
target_link_libraries(ddpm_library PRIVATE ${archives} ${DDPM_SANITIZER_OPTIONS})
set_target_properties(ddpm_library PROPERTIES OUTPUT_NAME ddpm VERSION ${PROJECT_VERSION}
  SOVERSION "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}"
  LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,${joined}")  # all of them, not only what library.cpp needs
