# ddpm_add_pch()                          the shared precompiled header, precompiled.h
# ddpm_use_pch(target)                    compiles a target with it
# ddpm_add_module(name LINK lib... [HOST file...])
#   src/<name>/*.cpp and the folders cpu/ and amx/ in it as the static library ddpm_<name>. Of its folder cuda/: if there
#   is an nvcc, all but none.cpp; without one, none.cpp. HOST: files of cuda/ that need no CUDA, compiled in both cases.

function(ddpm_common target)
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}/include")
  # LibTorch ships the headers of another fmt version than the linked one: ours must be found first.
  get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/fmt_first")
  file(CREATE_LINK "${fmt_include}/fmt" "${PROJECT_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)
  target_include_directories(${target} BEFORE PUBLIC "${PROJECT_BINARY_DIR}/fmt_first")
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
  # The same for every target: the precompiled header is valid only with the same definitions.
  target_link_libraries(${target} PUBLIC LibTorch::LibTorch fmt::fmt spdlog::spdlog gomp)
endfunction()

function(ddpm_add_pch)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/pch.cpp" CONTENT "// Owns the precompiled header that every other target reuses.\n")
  add_library(ddpm_pch STATIC "${PROJECT_BINARY_DIR}/pch.cpp")
  ddpm_common(ddpm_pch)
  target_precompile_headers(ddpm_pch PRIVATE "${PROJECT_SOURCE_DIR}/cmake/precompiled.h")
endfunction()

function(ddpm_use_pch target)
  target_precompile_headers(${target} REUSE_FROM ddpm_pch)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
endfunction()

function(ddpm_add_module name)
  cmake_parse_arguments(arg "" "" "LINK;HOST" ${ARGN})
  set(folder "${PROJECT_SOURCE_DIR}/src/${name}")
  list(TRANSFORM arg_HOST PREPEND "${folder}/cuda/")
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp" "${folder}/cpu/*.cpp" "${folder}/amx/*.cpp")
  file(GLOB cuda_sources CONFIGURE_DEPENDS "${folder}/cuda/*.cu" "${folder}/cuda/*.cpp")
  if(arg_HOST)
    list(REMOVE_ITEM cuda_sources ${arg_HOST})
    list(APPEND sources ${arg_HOST})
  endif()
  if(DDPM_HAS_CUDA)
    list(FILTER cuda_sources EXCLUDE REGEX "/none\\.cpp$")
  else()
    list(FILTER cuda_sources INCLUDE REGEX "/none\\.cpp$")
  endif()
  set_property(GLOBAL APPEND PROPERTY DDPM_MODULES ${name})
  add_library(ddpm_${name} STATIC ${sources} ${cuda_sources})
  ddpm_common(ddpm_${name})
  target_precompile_headers(ddpm_${name} REUSE_FROM ddpm_pch)
  set_target_properties(ddpm_${name} PROPERTIES UNITY_BUILD ${DDPM_UNITY} UNITY_BUILD_BATCH_SIZE 32)
  target_link_libraries(ddpm_${name} PUBLIC ${arg_LINK})
  if(DDPM_HAS_CUDA)
    # LibTorch's CUDA headers include those of the runtime and the libraries: NVIDIA's wheels have
    # them all. Other sources are compiled in the same way with and without CUDA.
    file(GLOB nvidia_include LIST_DIRECTORIES true "${LibTorch_NVIDIA_ROOT}/cu*/include")
    if(NOT nvidia_include)
      set(nvidia_include ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    endif()
    list(FILTER cuda_sources INCLUDE REGEX "\\.cpp$")
    list(TRANSFORM nvidia_include PREPEND "-isystem")
    set_source_files_properties(${cuda_sources} PROPERTIES COMPILE_OPTIONS "${nvidia_include}")
    if("${folder}/cuda/kernels.cpp" IN_LIST cuda_sources)
      string(REPLACE ";" " " archs "${CMAKE_CUDA_ARCHITECTURES}")
      set_property(SOURCE "${folder}/cuda/kernels.cpp" APPEND PROPERTY
        COMPILE_DEFINITIONS "DDPM_CUDA_ARCHITECTURES=\"${archs}\"")
    endif()
  endif()
endfunction()
