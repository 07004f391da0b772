# cmake -DBUILD_DIR=... -P install.cmake
# The installed program runs from its place, wherever that is moved to, with nothing in the environment.
set(first "${BUILD_DIR}/install_test/first")
set(moved "${BUILD_DIR}/install_test/moved elsewhere")
file(REMOVE_RECURSE "${BUILD_DIR}/install_test")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${first}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${moved}")
execute_process(COMMAND env -i "${moved}/bin/ddpm" --help
  OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
if(NOT text MATCHES "train")
  message(FATAL_ERROR "ddpm --help does not name its commands: ${text}")
endif()
if(NOT EXISTS "${moved}/share/ddpm/configs/quickstart.toml")
  message(FATAL_ERROR "the configs are not installed")
endif()
foreach(file share/man/man1/ddpm.1 share/man/man1/ddpm-eval-sweep.1 share/bash-completion/completions/ddpm
        share/zsh/site-functions/_ddpm share/fish/vendor_completions.d/ddpm.fish)
  if(NOT EXISTS "${moved}/${file}")
    message(FATAL_ERROR "${file} is not installed")
  endif()
endforeach()
