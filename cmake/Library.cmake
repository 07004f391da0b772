# libddpm.so: the modules below the commands as one library, for other C++ programs (find_package(ddpm)) and for
# Python. Sets DDPM_LIBRARY_MODULES.
set(DDPM_LIBRARY_MODULES base config io kernels dist diffusion nn data sample checkpoint train eval exchange pipeline)
set(objects "")
foreach(module IN LISTS DDPM_LIBRARY_MODULES ITEMS python)
  list(APPEND objects "$<TARGET_OBJECTS:ddpm_${module}>")
endforeach()
add_library(ddpm_library SHARED ${objects})
set_target_properties(ddpm_library PROPERTIES OUTPUT_NAME ddpm VERSION ${PROJECT_VERSION}
  SOVERSION "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}" LINKER_LANGUAGE CXX)
# The program takes these two from their archives, which are not made for shared libraries.
find_library(DDPM_SHARED_JPEG jpeg REQUIRED)
find_library(DDPM_SHARED_WEBP webp REQUIRED)
target_link_libraries(ddpm_library PRIVATE LibTorch::LibTorch fmt::fmt spdlog::spdlog gomp ${CMAKE_DL_LIBS}
  tomlplusplus::tomlplusplus "${DDPM_SHARED_JPEG}" "${DDPM_SHARED_WEBP}" LibZip::LibZip LMDB::LMDB OpenSSL::Crypto
  ZLIB::ZLIB Threads::Threads ${DDPM_SANITIZER_OPTIONS})
mark_as_advanced(DDPM_SHARED_JPEG DDPM_SHARED_WEBP)
