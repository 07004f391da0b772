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
  set(folders "")
  foreach(header nccl.h cuda_runtime.h crt/host_config.h nv/target)  # the latter two are included by the second
    find_path(folder ${header} NO_CACHE HINTS ${wheels} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}
      PATH_SUFFIXES cccl)
    if(NOT folder)
      message(STATUS "NCCL is left out: ${header} was not found (scripts/setup.sh fetches it); several GPUs will use gloo")
      return()
    endif()
    list(APPEND folders "${folder}")
    unset(folder)
  endforeach()
  set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS USE_C10D_NCCL)
  target_include_directories(ddpm_dist SYSTEM PRIVATE ${folders} ${wheels})
endfunction()
