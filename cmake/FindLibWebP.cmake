# FindLibWebP: libwebp as LibWebP::LibWebP. Prefers the static library, so that the
# program does not need it at run time.
find_path(LibWebP_INCLUDE_DIR webp/decode.h)
find_library(LibWebP_LIBRARY NAMES libwebp.a webp)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibWebP REQUIRED_VARS LibWebP_LIBRARY LibWebP_INCLUDE_DIR)
if(LibWebP_FOUND AND NOT TARGET LibWebP::LibWebP)
  add_library(LibWebP::LibWebP INTERFACE IMPORTED)
  target_include_directories(LibWebP::LibWebP SYSTEM INTERFACE "${LibWebP_INCLUDE_DIR}")
  target_link_libraries(LibWebP::LibWebP INTERFACE "${LibWebP_LIBRARY}")
endif()
mark_as_advanced(LibWebP_INCLUDE_DIR LibWebP_LIBRARY)
