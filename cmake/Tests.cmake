# One test program per module, tests/<module>/*_test.cpp -> <module>_test, and one ctest entry for
# it. SHARDS n divides its tests into n entries, <module>_1 to <module>_n, which ctest runs side by
# side. Tests whose suite name ends in "Gpu" form an entry of their own, labelled gpu. Without a GPU
# they skip and say so.
function(ddpm_add_tests name)
  cmake_parse_arguments(arg "" "SHARDS" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE ${arg_LINK} GTest::gtest_main ${DDPM_SANITIZER_OPTIONS})
  target_include_directories(${name}_test PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${name}_test PRIVATE
    DDPM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" DDPM_TEST_DATA="${DDPM_TEST_DATA}" DDPM_PROGRAM="$<TARGET_FILE:ddpm>")
  ddpm_use_pch(${name}_test)
  # Files that share headers are compiled together, with less optimisation than the program.
  set_target_properties(${name}_test PROPERTIES UNITY_BUILD ${DDPM_UNITY} UNITY_BUILD_BATCH_SIZE 32)
  target_compile_options(${name}_test PRIVATE $<$<CONFIG:Release>:-O1>)
  if(arg_SHARDS)
    math(EXPR last "${arg_SHARDS} - 1")
    foreach(index RANGE ${last})
      math(EXPR number "${index} + 1")
      add_test(NAME ${name}_${number} COMMAND ${name}_test --gtest_filter=-*Gpu.*)
      # COST: the longest entries are begun first.
      set_tests_properties(${name}_${number} PROPERTIES COST 100
        ENVIRONMENT "OMP_NUM_THREADS=1;GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${index}")
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name}_test --gtest_filter=-*Gpu.*)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "OMP_NUM_THREADS=1")
  endif()
  set(has_gpu_tests FALSE)
  foreach(source IN LISTS sources)
    file(STRINGS "${source}" gpu_suites REGEX "^TEST.*[(][A-Za-z0-9]*Gpu,")
    if(gpu_suites)
      set(has_gpu_tests TRUE)
    endif()
  endforeach()
  if(has_gpu_tests)
    add_test(NAME ${name}_gpu COMMAND ${name}_test --gtest_filter=*Gpu.*)
    set_tests_properties(${name}_gpu PROPERTIES LABELS gpu)
  endif()
endfunction()

get_property(modules GLOBAL PROPERTY DDPM_MODULES)
set(cli_shards SHARDS 4)  # its tests start the program some hundred times
foreach(module IN LISTS modules)
  ddpm_add_tests(${module} LINK ddpm_${module} ddpm_io ${${module}_shards})  # io: tests read golden files
endforeach()
target_compile_options(kernels_test PRIVATE -Wno-unknown-pragmas)  # it runs bodies of cuda/ on the host
# The examples of docs/extending.md.
ddpm_add_tests(extending LINK ddpm_eval ddpm_io)
# End-to-end tests drive the real binary.
if(TARGET cli_test)
  add_dependencies(cli_test ddpm)
endif()

# The sources' layers, the links of the documentation, and the program as a file.
add_test(NAME layers COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_layers.py" "${PROJECT_SOURCE_DIR}")
add_test(NAME layers_self_test COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_layers.py" --self-test)
add_test(NAME links COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_links.py")
add_test(NAME messages COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_messages.py")
add_test(NAME messages_self_test COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_messages.py" --self-test)
add_test(NAME link_order COMMAND "${CMAKE_COMMAND}" "-DREADELF=${CMAKE_READELF}" "-DPROGRAM=$<TARGET_FILE:ddpm>"
  -P "${PROJECT_SOURCE_DIR}/tests/packaging/link_order.cmake")
add_test(NAME install COMMAND "${CMAKE_COMMAND}" "-DBUILD_DIR=${PROJECT_BINARY_DIR}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}"
  -P "${PROJECT_SOURCE_DIR}/tests/packaging/install.cmake")
add_test(NAME cuda_architectures COMMAND "${CMAKE_COMMAND}" "-DMODULE=${PROJECT_SOURCE_DIR}/cmake/CudaArchitectures.cmake"
  "-DSCRATCH=${PROJECT_BINARY_DIR}/cuda_architectures_test" -P "${PROJECT_SOURCE_DIR}/tests/packaging/cuda_architectures.cmake")
# Our files, read by the programs of others.
add_test(NAME tensorboard COMMAND python3 "${PROJECT_SOURCE_DIR}/tests/readback/read_events.py" "$<TARGET_FILE:ddpm>")
set_tests_properties(tensorboard PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1")
add_test(NAME diffusers COMMAND python3 "${PROJECT_SOURCE_DIR}/tests/readback/load_diffusers.py" "$<TARGET_FILE:ddpm>")
set_tests_properties(diffusers PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1")
add_test(NAME apng COMMAND python3 "${PROJECT_SOURCE_DIR}/tests/readback/read_apng.py" "$<TARGET_FILE:ddpm>")
set_tests_properties(apng PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1")
add_test(NAME python_module COMMAND python3 "${PROJECT_SOURCE_DIR}/tests/readback/use_python_module.py"
  "$<TARGET_FILE:ddpm>" "$<TARGET_FILE:ddpm_library>")
set_tests_properties(python_module PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1")
add_test(NAME wandb COMMAND python3 "${PROJECT_SOURCE_DIR}/tests/readback/follow_in_wandb.py")
# The page of `ddpm serve` in a real browser.
add_test(NAME serve_page COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/try_serve.py" "$<TARGET_FILE:ddpm>"
  --out "${PROJECT_BINARY_DIR}/serve")
set_tests_properties(serve_page PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "OMP_NUM_THREADS=1" TIMEOUT 600)
# Runs that are killed, stopped or out of disk space keep the guarantees of docs/reliability.md. The
# long mode is run by hand. (Not with sanitizers, which must be loaded before the shim that makes
# calls fail.)
if(NOT DDPM_SANITIZE)
  add_test(NAME faults COMMAND sh -c "command -v python3 > /dev/null || exit 77; exec python3 -B \"$0\" \"$1\""
    "${PROJECT_SOURCE_DIR}/tests/faults/faults.py" "$<TARGET_FILE:ddpm>")
  set_tests_properties(faults PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200)
endif()
