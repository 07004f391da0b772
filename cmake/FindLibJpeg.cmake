# FindLibJpeg: libjpeg (libjpeg-turbo) as LibJpeg::LibJpeg. Prefers the static library, so that the
# program does not need it at run time.
find_path(LibJpeg_INCLUDE_DIR jpeglib.h)
find_library(LibJpeg_LIBRARY NAMES libjpeg.a jpeg)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibJpeg REQUIRED_VARS LibJpeg_LIBRARY LibJpeg_INCLUDE_DIR)
if(LibJpeg_FOUND AND NOT TARGET LibJpeg::LibJpeg)
  add_library(LibJpeg::LibJpeg INTERFACE IMPORTED)
  target_include_directories(LibJpeg::LibJpeg SYSTEM INTERFACE "${LibJpeg_INCLUDE_DIR}")
  target_link_libraries(LibJpeg::LibJpeg INTERFACE "${LibJpeg_LIBRARY}")
endif()
mark_as_advanced(LibJpeg_INCLUDE_DIR LibJpeg_LIBRARY)
