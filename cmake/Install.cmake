# cmake --install, by components:
#   program     bin/ddpm, the configs, manual pages and completion, made by the program itself
#   library     lib/libddpm.so
#   development headers and the package for find_package(ddpm)
#   link        lib/ddpm/torch and lib/ddpm/nvidia: links to the LibTorch of the build
# and, only if they are named (cpack names them: cmake/Packages.cmake):
#   libtorch    LibTorch's libraries in place of the links
#   libraries   the other shared libraries, but for those of every Linux
# The program and the library find LibTorch by relative paths, below lib/ddpm. They still run after the prefix was
# moved, and with libtorch and libraries after everything outside it is gone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The folders of libraries as seen from lib/.
set(library_folders ddpm ddpm/torch/lib)
set(other_folders "")  # of a CUDA toolkit: outside the prefix
foreach(folder IN LISTS LibTorch_RUNTIME_DIRS)
  if(LibTorch_NVIDIA_ROOT AND folder MATCHES "^${LibTorch_NVIDIA_ROOT}/(.*)$")
    list(APPEND library_folders "ddpm/nvidia/${CMAKE_MATCH_1}")
  elseif(NOT folder STREQUAL "${LibTorch_PREFIX}/lib")
    list(APPEND other_folders "${folder}")
  endif()
endforeach()
list(TRANSFORM library_folders PREPEND "$ORIGIN/../lib/" OUTPUT_VARIABLE program_rpath)
list(TRANSFORM library_folders PREPEND "$ORIGIN/" OUTPUT_VARIABLE library_rpath)
if(SKBUILD)  # a wheel: torch and nvidia lie beside the package, two folders above bin/ and lib/
  list(TRANSFORM library_folders REPLACE "^ddpm/(torch|nvidia)" "\\1" OUTPUT_VARIABLE siblings)
  list(FILTER siblings INCLUDE REGEX "^(torch|nvidia)")
  list(TRANSFORM siblings PREPEND "$ORIGIN/../../")
  set(program_rpath "$ORIGIN/../lib/ddpm" ${siblings})
  set(library_rpath "$ORIGIN/ddpm" ${siblings})
endif()
set_target_properties(ddpm PROPERTIES INSTALL_RPATH "${program_rpath};${other_folders}")
set_target_properties(ddpm_library PROPERTIES INSTALL_RPATH "${library_rpath};${other_folders}")
# RPATH, not RUNPATH: it holds for the libraries of libraries too, and for those that are loaded by name.
target_link_options(ddpm PRIVATE -Wl,--disable-new-dtags)
target_link_options(ddpm_library PRIVATE -Wl,--disable-new-dtags)

install(TARGETS ddpm RUNTIME DESTINATION bin COMPONENT program)
install(DIRECTORY configs/ DESTINATION share/ddpm/configs COMPONENT program)
install(FILES LICENSE NOTICE DESTINATION share/doc/ddpm COMPONENT program)
install(TARGETS ddpm_library LIBRARY DESTINATION lib COMPONENT library NAMELINK_COMPONENT development)

set(manuals "${PROJECT_BINARY_DIR}/manuals")
install(CODE "
  file(REMOVE_RECURSE \"${manuals}\")
  file(MAKE_DIRECTORY \"${manuals}\")
  execute_process(COMMAND \"$<TARGET_FILE:ddpm>\" man --out \"${manuals}/man1\"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  foreach(shell bash zsh fish)
    execute_process(COMMAND \"$<TARGET_FILE:ddpm>\" completion \${shell}
      OUTPUT_FILE \"${manuals}/\${shell}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()" COMPONENT program)
install(DIRECTORY "${manuals}/man1/" DESTINATION share/man/man1 COMPONENT program)
install(FILES "${manuals}/bash" RENAME ddpm DESTINATION share/bash-completion/completions COMPONENT program)
install(FILES "${manuals}/zsh" RENAME _ddpm DESTINATION share/zsh/site-functions COMPONENT program)
install(FILES "${manuals}/fish" RENAME ddpm.fish DESTINATION share/fish/vendor_completions.d COMPONENT program)

foreach(module IN LISTS DDPM_LIBRARY_MODULES)
  install(DIRECTORY "include/ddpm/${module}" DESTINATION include/ddpm COMPONENT development)
endforeach()
set(package "${PROJECT_BINARY_DIR}/package")
set(ddpm_torch lib/ddpm/torch)
set(ddpm_library "lib/libddpm.so.${PROJECT_VERSION}")
set(ddpm_include include)
configure_package_config_file(cmake/ddpmConfig.cmake.in "${package}/ddpmConfig.cmake"
  INSTALL_DESTINATION lib/cmake/ddpm PATH_VARS ddpm_torch ddpm_library ddpm_include)
write_basic_package_version_file("${package}/ddpmConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${package}/ddpmConfig.cmake" "${package}/ddpmConfigVersion.cmake" cmake/FindLibTorch.cmake
  DESTINATION lib/cmake/ddpm COMPONENT development)

# ddpm_install_script(component script NAME value...): runs a script of cmake/ with these variables and PREFIX.
function(ddpm_install_script component script)
  set(settings "")
  while(ARGN)
    list(POP_FRONT ARGN name value)
    string(APPEND settings "set(${name} \"${value}\")\n")
  endwhile()
  set(excluded "")
  if(NOT component STREQUAL "link")
    set(excluded EXCLUDE_FROM_ALL)
  endif()
  install(CODE "${settings}
    set(PREFIX \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
    include(\"${PROJECT_SOURCE_DIR}/cmake/${script}.cmake\")" COMPONENT ${component} ${excluded})
endfunction()
ddpm_install_script(link InstallLibTorch TORCH "${LibTorch_PREFIX}" NVIDIA "${LibTorch_NVIDIA_ROOT}" COPY OFF)
ddpm_install_script(libtorch InstallLibTorch TORCH "${LibTorch_PREFIX}" NVIDIA "${LibTorch_NVIDIA_ROOT}" COPY ON)
ddpm_install_script(libraries InstallLibraries PROGRAM "$<TARGET_FILE:ddpm>"
  LIBRARY "$<TARGET_FILE:ddpm_library>" LIBRARY_NAME "$<TARGET_FILE_NAME:ddpm_library>" TORCH "${LibTorch_PREFIX}"
  NVIDIA "${LibTorch_NVIDIA_ROOT}")
