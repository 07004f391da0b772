# FindLibTorch: LibTorch as one imported target, LibTorch::LibTorch.
#
# The libraries are linked directly, so the same code handles the PyPI wheel, the LibTorch zip and
# CPU-only builds. The package's own TorchConfig.cmake refuses to configure a CUDA build of LibTorch
# on a machine without nvcc. It also probes for a GPU, and forces its C++ standard on CUDA sources.
#
# Search order; the first hit is used:
#   Torch_DIR (…/share/cmake/Torch) and CMAKE_PREFIX_PATH, both as variables and in the environment
#   the cache of scripts/setup.sh (DDPM_CACHE or ~/.cache/ddpm)
# Sets LibTorch_FOUND, LibTorch_VERSION, LibTorch_PREFIX, LibTorch_NVIDIA_ROOT, LibTorch_RUNTIME_DIRS
# (the folders in which the program searches for shared libraries), LibTorch_HAS_CUDA and
# LibTorch_CUDA_MAJOR.

if(DEFINED ENV{DDPM_CACHE})
  set(DDPM_CACHE_DIR "$ENV{DDPM_CACHE}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(DDPM_CACHE_DIR "$ENV{XDG_CACHE_HOME}/ddpm")
else()
  set(DDPM_CACHE_DIR "$ENV{HOME}/.cache/ddpm")
endif()

set(_libtorch_hints)
foreach(_dir IN ITEMS "${Torch_DIR}" "$ENV{Torch_DIR}")
  if(_dir)
    get_filename_component(_libtorch_root "${_dir}/../../.." ABSOLUTE)
    list(APPEND _libtorch_hints "${_libtorch_root}")
  endif()
endforeach()
string(REPLACE ":" ";" _libtorch_env_prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(_prefix IN LISTS CMAKE_PREFIX_PATH _libtorch_env_prefixes)
  # torch.utils.cmake_prefix_path is <torch>/share/cmake, so its grandparent counts too.
  get_filename_component(_libtorch_root "${_prefix}/../.." ABSOLUTE)
  list(APPEND _libtorch_hints "${_prefix}" "${_libtorch_root}")
endforeach()
file(GLOB _libtorch_stamps "${DDPM_CACHE_DIR}/torch-*/.complete")  # the mark of a finished installation
list(SORT _libtorch_stamps COMPARE NATURAL ORDER DESCENDING)
foreach(_stamp IN LISTS _libtorch_stamps)
  get_filename_component(_libtorch_root "${_stamp}" DIRECTORY)
  file(GLOB _libtorch_wheels "${_libtorch_root}/lib/python3*/site-packages/torch")
  list(APPEND _libtorch_hints ${_libtorch_wheels})
endforeach()

# If the LibTorch of the last configure no longer exists, it is searched for again.
if(LibTorch_INCLUDE_DIR AND NOT EXISTS "${LibTorch_INCLUDE_DIR}/torch")
  foreach(_lib torch torch_cpu c10 torch_cuda c10_cuda)
    unset(LibTorch_${_lib}_LIBRARY CACHE)
  endforeach()
  unset(LibTorch_INCLUDE_DIR CACHE)
endif()
find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
  HINTS ${_libtorch_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
if(NOT LibTorch_INCLUDE_DIR)
  find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h PATH_SUFFIXES include)
endif()
get_filename_component(LibTorch_PREFIX "${LibTorch_INCLUDE_DIR}/.." ABSOLUTE)
foreach(_lib torch torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${_lib}_LIBRARY ${_lib} PATHS "${LibTorch_PREFIX}/lib" NO_DEFAULT_PATH)
  mark_as_advanced(LibTorch_${_lib}_LIBRARY)
endforeach()

# The version's numbers moved from torch/version.h to torch/headeronly/version.h in 2.9.
set(LibTorch_VERSION "")
foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(EXISTS "${LibTorch_INCLUDE_DIR}/${_header}" AND NOT LibTorch_VERSION)
    file(READ "${LibTorch_INCLUDE_DIR}/${_header}" _text)
    if(_text MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(LibTorch_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_torch_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup.sh once, or pass -DCMAKE_PREFIX_PATH=<your libtorch>")

# Releases before 2.7 also existed with libstdc++'s old strings; no other library here is built so.
set(_libtorch_config "${LibTorch_PREFIX}/share/cmake/Torch/TorchConfig.cmake")
if(LibTorch_FOUND AND EXISTS "${_libtorch_config}")
  file(STRINGS "${_libtorch_config}" _libtorch_old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(_libtorch_old_abi)
    message(FATAL_ERROR "The LibTorch in ${LibTorch_PREFIX} is built with the pre-C++11 ABI, which fits no other "
      "library here; take the 'cxx11 ABI' download, or release 2.7 or newer")
  endif()
endif()

set(LibTorch_HAS_CUDA FALSE)
set(LibTorch_CUDA_MAJOR "")
if(LibTorch_torch_cuda_LIBRARY AND LibTorch_c10_cuda_LIBRARY)
  set(LibTorch_HAS_CUDA TRUE)
  # The name of its CUDA runtime holds the CUDA version: libcudart.so.13, libcudart-1a2b3c4d.so.12
  set(_cudart "libcudart[-0-9a-f]*\\.so\\.([0-9]+)")
  file(STRINGS "${LibTorch_c10_cuda_LIBRARY}" _text REGEX "${_cudart}" LIMIT_COUNT 1)
  if(_text MATCHES "${_cudart}")
    set(LibTorch_CUDA_MAJOR "${CMAKE_MATCH_1}")
  endif()
endif()
# The wheel's CUDA runtime, cuDNN and NCCL live in the sibling folder site-packages/nvidia.
get_filename_component(_libtorch_site "${LibTorch_PREFIX}/.." ABSOLUTE)
set(LibTorch_NVIDIA_ROOT "")
set(LibTorch_RUNTIME_DIRS "${LibTorch_PREFIX}/lib")
if(EXISTS "${_libtorch_site}/nvidia")
  set(LibTorch_NVIDIA_ROOT "${_libtorch_site}/nvidia")
  file(GLOB _nvidia_libs LIST_DIRECTORIES true "${LibTorch_NVIDIA_ROOT}/*/lib")
  list(APPEND LibTorch_RUNTIME_DIRS ${_nvidia_libs})
endif()

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    "${LibTorch_INCLUDE_DIR}" "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  # libtorch exports parts of libstdc++ (among them std::filesystem). They crash if they replace the
  # real ones, so libstdc++ must come first in NEEDED. torch_cuda registers itself when it is loaded,
  # hence --no-as-needed.
  set(_libtorch_link -Wl,--no-as-needed stdc++ "${LibTorch_torch_LIBRARY}" "${LibTorch_torch_cpu_LIBRARY}"
    "${LibTorch_c10_LIBRARY}")
  if(LibTorch_HAS_CUDA)
    list(APPEND _libtorch_link "${LibTorch_torch_cuda_LIBRARY}" "${LibTorch_c10_cuda_LIBRARY}")
  endif()
  target_link_libraries(LibTorch::LibTorch INTERFACE ${_libtorch_link} -Wl,--as-needed)
  # torch_cuda's own libraries are found through its RPATH when it is loaded, not at link time.
  target_link_options(LibTorch::LibTorch INTERFACE -Wl,--allow-shlib-undefined)
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR)
