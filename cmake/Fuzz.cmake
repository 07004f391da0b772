# DDPM_FUZZ: builds only one program per reader of foreign bytes (tests/fuzz/NAME_fuzz.cpp ->
# fuzz_NAME). They need clang (libFuzzer). The readers' sources are compiled again, instrumented;
# the modules are not built.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "DDPM_FUZZ needs clang's libFuzzer, but the compiler is ${CMAKE_CXX_COMPILER}; "
    "use cmake --preset fuzz, or -DCMAKE_CXX_COMPILER=clang++")
endif()

file(GLOB sources CONFIGURE_DEPENDS
  src/base/*.cpp src/config/*.cpp src/io/*.cpp src/data/*.cpp src/diffusion/*.cpp
  src/sample/ancestral.cpp src/sample/clip.cpp src/sample/ddim.cpp src/sample/diffusers_plan.cpp
  src/sample/dpm_solver.cpp src/sample/heun.cpp src/sample/jump.cpp src/sample/multistep.cpp
  src/sample/noise_multistep.cpp src/sample/noise_spacing.cpp src/sample/noisy_end.cpp
  src/sample/optimal_steps.cpp
  src/sample/methods.cpp src/sample/sample_config.cpp src/sample/timestep_plan.cpp src/sample/unipc.cpp
  src/nn/unet_config.cpp src/checkpoint/manifest.cpp src/checkpoint/state.cpp
  src/exchange/diffusers_config*.cpp src/exchange/json_text.cpp)
list(FILTER sources EXCLUDE REGEX "device_graph")
add_library(ddpm_readers STATIC ${sources})
ddpm_common(ddpm_readers)
target_include_directories(ddpm_readers PUBLIC "${PROJECT_SOURCE_DIR}")
target_compile_options(ddpm_readers PUBLIC -fsanitize=fuzzer-no-link)
target_link_libraries(ddpm_readers PUBLIC
  tomlplusplus::tomlplusplus Stb::Stb LibZip::LibZip LMDB::LMDB LibJpeg::LibJpeg LibWebP::LibWebP OpenSSL::Crypto ZLIB::ZLIB nlohmann_json::nlohmann_json Threads::Threads)
target_precompile_headers(ddpm_readers PRIVATE <torch/types.h> <torch/utils.h> <fmt/format.h>)

file(GLOB fuzzers CONFIGURE_DEPENDS tests/fuzz/*_fuzz.cpp)
foreach(fuzzer IN LISTS fuzzers)
  get_filename_component(name "${fuzzer}" NAME_WE)
  string(REGEX REPLACE "^(.*)_fuzz$" "fuzz_\\1" name "${name}")
  add_executable(${name} "${fuzzer}" tests/fuzz/entry.cpp)
  target_link_libraries(${name} PRIVATE ddpm_readers ${DDPM_SANITIZER_OPTIONS} -fsanitize=fuzzer)
endforeach()
