# cpack: one .tar.gz for any Linux with this glibc or a newer one, and one .deb for this Debian or Ubuntu. Both hold
# LibTorch's libraries (docs/install.md, "Packages").
set(CPACK_PACKAGE_NAME ddpm)
set(CPACK_PACKAGE_VENDOR "the ddpm maintainers")
set(CPACK_PACKAGE_CONTACT "the ddpm maintainers <maintainers@users.noreply.example>")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_GENERATOR "TGZ;DEB")
set(CPACK_PACKAGE_FILE_NAME "ddpm-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_STRIP_FILES OFF)  # LibTorch's are stripped; ours has no debugging symbols
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
set(CPACK_THREADS 0)  # as many as there are cores
# What depends on the kind of package: its components, and what a .deb depends on.
set(CPACK_DDPM_PROGRAM "${PROJECT_BINARY_DIR}/ddpm")
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_SOURCE_DIR}/cmake/PackageKind.cmake")
include(CPack)
