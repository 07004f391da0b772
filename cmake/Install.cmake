# cmake --install: the program finds the LibTorch of its build by an absolute RUNPATH.
include(GNUInstallDirs)
set_target_properties(ddpm PROPERTIES INSTALL_RPATH "${LibTorch_RUNTIME_DIRS}")
install(TARGETS ddpm RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY configs/ DESTINATION "${CMAKE_INSTALL_DATADIR}/ddpm/configs")
install(FILES LICENSE NOTICE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
