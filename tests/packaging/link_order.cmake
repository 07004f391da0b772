# cmake -DREADELF=... -DPROGRAM=... -P link_order.cmake
# libstdc++ must come before LibTorch in NEEDED: LibTorch exports parts of libstdc++, and std::filesystem::remove_all
# crashes where those are found first.
execute_process(COMMAND "${READELF}" -d "${PROGRAM}" OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*\\[[^]]*\\]" needed "${text}")
string(REGEX REPLACE "\\(NEEDED\\)[^[]*\\[([^]]*)\\]" "\\1" needed "${needed}")
string(FIND "${needed}" "libstdc++.so" stdcxx)
string(FIND "${needed}" "libtorch" torch)
if(torch EQUAL -1)
  message(FATAL_ERROR "${PROGRAM} is not linked to LibTorch, so this test checks nothing: ${needed}")
endif()
if(stdcxx EQUAL -1 OR stdcxx GREATER torch)
  message(FATAL_ERROR "libstdc++ does not precede LibTorch in NEEDED of ${PROGRAM}: ${needed}")
endif()
message(STATUS "NEEDED in order: ${needed}")
