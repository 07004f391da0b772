# ddpm_use_c10d(): what src/dist/process_group.cpp needs of LibTorch's torch.distributed, whose headers the wheel ships
# in part: gloo's are replaced by five declarations, NCCL's and the CUDA runtime's come from NVIDIA's wheels or the
# toolkit. Without those, the program is built without NCCL: ranks on GPUs then meet through gloo.
function(ddpm_use_c10d)
  set(source "${PROJECT_SOURCE_DIR}/src/dist/process_group.cpp")  # the definitions do not fit the precompiled header
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
  find_path(cuda_include cuda_runtime_api.h NO_CACHE HINTS ${wheels} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  if(nccl_include AND cuda_include)
    set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS USE_C10D_NCCL)
    target_include_directories(ddpm_dist SYSTEM PRIVATE "${nccl_include}" "${cuda_include}" ${wheels})
  else()
    message(STATUS "NCCL is left out: nccl.h or cuda_runtime_api.h was not found; several GPUs will use gloo")
  endif()
endfunction()
