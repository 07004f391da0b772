// Compiled into every program of a sanitizer build (DDPM_SANITIZE), so that the options hold however it is started.
// LibTorch 2.11 needs no suppression: it leaks nothing that can be seen from here. One that becomes necessary is
// returned by __lsan_default_suppressions(), a line "leak:<function or library>" each, with its reason beside it.

extern "C" const char* __asan_default_options() {
  return "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1";
}

extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }
