# cmake --install: the program finds the LibTorch of its build by an absolute RUNPATH. Manual pages
# and the completion of shells are made by the program itself.
include(GNUInstallDirs)
set_target_properties(ddpm PROPERTIES INSTALL_RPATH "${LibTorch_RUNTIME_DIRS}")
install(TARGETS ddpm RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY configs/ DESTINATION "${CMAKE_INSTALL_DATADIR}/ddpm/configs")
install(FILES LICENSE NOTICE DESTINATION "${CMAKE_INSTALL_DOCDIR}")

set(manuals "${PROJECT_BINARY_DIR}/manuals")
install(CODE "
  file(REMOVE_RECURSE \"${manuals}\")
  file(MAKE_DIRECTORY \"${manuals}\")
  execute_process(COMMAND \"$<TARGET_FILE:ddpm>\" man --out \"${manuals}/man1\"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  foreach(shell bash zsh fish)
    execute_process(COMMAND \"$<TARGET_FILE:ddpm>\" completion \${shell}
      OUTPUT_FILE \"${manuals}/\${shell}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()")
install(DIRECTORY "${manuals}/man1/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES "${manuals}/bash" RENAME ddpm
  DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
install(FILES "${manuals}/zsh" RENAME _ddpm DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
install(FILES "${manuals}/fish" RENAME ddpm.fish
  DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
