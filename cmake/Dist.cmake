# ddpm_use_c10d(): compiles src/dist/process_group.cpp against LibTorch's torch.distributed. The
# wheel ships only part of its headers. Five declarations replace gloo's headers. NCCL's and the
# CUDA runtime's come from NVIDIA's wheels or the toolkit. Without them, the program is built
# without NCCL, and ranks on GPUs communicate through gloo.
function(ddpm_use_c10d)
  # Its definitions are incompatible with the precompiled header.
  set(source "${PROJECT_SOURCE_DIR}/src/dist/process_group.cpp")
  set_source_files_properties("${source}" PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS USE_DISTRIBUTED USE_C10D_GLOO)
  if(NOT EXISTS "${LibTorch_INCLUDE_DIR}/gloo/algorithm.h")
    target_include_directories(ddpm_dist SYSTEM PRIVATE "${PROJECT_SOURCE_DIR}/src/dist/gloo_shim")
  endif()
  if(NOT LibTorch_HAS_CUDA)
    return()
  endif()
  file(GLOB wheels LIST_DIRECTORIES true "${LibTorch_NVIDIA_ROOT}/cu*/include" "${LibTorch_NVIDIA_ROOT}/*/include")
  find_path(nccl_include nccl.h NO_CACHE HINTS ${wheels} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  find_path(cuda_include cuda_runtime.h NO_CACHE HINTS ${wheels} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  # cuda_runtime.h includes it; NVIDIA has it in a wheel of its own.
  find_path(crt_include crt/host_config.h NO_CACHE HINTS ${cuda_include} ${wheels} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  if(nccl_include AND cuda_include AND crt_include)
    set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS USE_C10D_NCCL)
    target_include_directories(ddpm_dist SYSTEM PRIVATE "${nccl_include}" "${cuda_include}" "${crt_include}" ${wheels})
  else()
    message(STATUS "NCCL is left out: nccl.h, cuda_runtime.h or crt/host_config.h was not found "
      "(scripts/setup.sh fetches them); several GPUs will use gloo")
  endif()
endfunction()
