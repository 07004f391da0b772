# DDPM_SANITIZE: address and undefined-behaviour sanitizers for our own code; every finding ends the
# program. LibTorch itself is not instrumented, but leaks are detected in the whole program
# (tests/sanitizers/options.cpp).
if(DDPM_SANITIZE)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined;-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
  add_compile_definitions(_GLIBCXX_ASSERTIONS)  # operator[] of the standard containers checks its bounds
  add_link_options(-fsanitize=address,undefined)
  add_library(ddpm_sanitizer_options OBJECT tests/sanitizers/options.cpp)
  set(DDPM_SANITIZER_OPTIONS ddpm_sanitizer_options)  # linked into every program
endif()
