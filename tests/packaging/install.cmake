# cmake -DBUILD_DIR=... -DTORCH=... -DSOURCE_DIR=... -P install.cmake
# An installation runs wherever it is moved to, with nothing in the environment; with its own libraries it needs
# nothing of the build or of the LibTorch there. A program outside the tree builds against it and samples the same
# images as the command.
set(scratch "${BUILD_DIR}/install_test")
set(first "${scratch}/first")
set(moved "${scratch}/moved elsewhere")
file(REMOVE_RECURSE "${scratch}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${first}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${moved}")
foreach(file share/ddpm/configs/quickstart.toml share/man/man1/ddpm.1 share/man/man1/ddpm-eval-sweep.1
        share/bash-completion/completions/ddpm share/zsh/site-functions/_ddpm
        share/fish/vendor_completions.d/ddpm.fish lib/cmake/ddpm/ddpmConfig.cmake include/ddpm/pipeline/pipeline.h)
  if(NOT EXISTS "${moved}/${file}")
    message(FATAL_ERROR "${file} is not installed")
  endif()
endforeach()
if(EXISTS "${moved}/include/ddpm/cli")
  message(FATAL_ERROR "the commands' headers are no part of the library, but are installed")
endif()

# expect_runs(): ddpm --help with an empty environment.
function(expect_runs)
  execute_process(COMMAND env -i "${moved}/bin/ddpm" --help OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  if(NOT text MATCHES "train")
    message(FATAL_ERROR "ddpm --help does not name its commands: ${text}")
  endif()
endfunction()
expect_runs()

# 1. A program outside the tree.
set(example "${scratch}/example")
file(COPY "${SOURCE_DIR}/tests/packaging/example/" DESTINATION "${example}/source")
execute_process(COMMAND "${CMAKE_COMMAND}" -S "${example}/source" -B "${example}/build" -DCMAKE_BUILD_TYPE=Debug
  "-DCMAKE_PREFIX_PATH=${moved}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${example}/build" OUTPUT_VARIABLE log RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "the example does not build: ${log}")
endif()
execute_process(COMMAND "${moved}/bin/ddpm" train --config "${SOURCE_DIR}/tests/tiny.toml" --out "${scratch}/run"
  --set train.steps=2 OUTPUT_QUIET ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${moved}/bin/ddpm" sample --ckpt "${scratch}/run" --ddim --steps 5 --num 4 --seed 1
  --no-provenance --out "${scratch}/expected" OUTPUT_QUIET ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(MAKE_DIRECTORY "${scratch}/found")
execute_process(COMMAND "${example}/build/sample_images" "${scratch}/run" "${scratch}/found"
  COMMAND_ERROR_IS_FATAL ANY)
foreach(i RANGE 3)
  file(SHA256 "${scratch}/expected/00000${i}.png" expected)
  file(SHA256 "${scratch}/found/${i}.png" found)
  if(NOT expected STREQUAL found)
    message(FATAL_ERROR "image ${i} of the example differs from that of ddpm sample")
  endif()
endforeach()
execute_process(COMMAND "${example}/build/sample_images" "${scratch}/no_run" "${scratch}/found"
  ERROR_VARIABLE text RESULT_VARIABLE status)
if(NOT status EQUAL 1 OR NOT text MATCHES "no_run")
  message(FATAL_ERROR "a missing run should be status 1 and a line that names it, not ${status}: ${text}")
endif()

# 2. With libraries of its own: none is found outside the prefix but those of every Linux.
foreach(component libtorch libraries)
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${moved}" --component ${component}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endforeach()
expect_runs()
file(REAL_PATH "${moved}" real_prefix)
foreach(file bin/ddpm lib/libddpm.so)
  execute_process(COMMAND env -i ldd "${moved}/${file}" OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" lines "${text}")
  set(own 0)
  foreach(line IN LISTS lines)
    if(line MATCHES "not found")
      message(FATAL_ERROR "${file}: ${line}")
    elseif(line MATCHES "=> (/[^(]*[^( ])")
      file(REAL_PATH "${CMAKE_MATCH_1}" library)
      string(FIND "${library}" "${real_prefix}/" place)
      if(place EQUAL 0)
        math(EXPR own "${own} + 1")
      elseif(NOT line MATCHES "(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libutil|libgcc_s|libstdc\\+\\+)[-.]")
        message(FATAL_ERROR "${file} needs a library outside the prefix: ${line}")
      endif()
    endif()
  endforeach()
  if(own LESS 5)
    message(FATAL_ERROR "${file}: only ${own} libraries lie in the prefix, so this test checks nothing: ${text}")
  endif()
endforeach()

# 3. Installing again goes back to the links, and leaves LibTorch itself as it is.
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${moved}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
if(NOT IS_SYMLINK "${moved}/lib/ddpm/torch")
  message(FATAL_ERROR "lib/ddpm/torch is no link any more")
endif()
expect_runs()
file(REMOVE_RECURSE "${scratch}")
