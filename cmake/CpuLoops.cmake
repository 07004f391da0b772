# ddpm_cpu_loops(): src/kernels/cpu/loops_*.cpp hold the innermost loops, one file a kind of processor; the program
# chooses when it runs. They include neither torch's headers nor the standard library's: a shared inline function
# compiled for AVX-512 could otherwise be the copy that the linker keeps for all.
function(ddpm_cpu_loops)
  set(options -O3 -fno-math-errno -fno-trapping-math -Wno-psabi)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(for_avx2 -mavx2 -mfma)
    set(for_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma)
  endif()
  foreach(kind base avx2 avx512)
    set_source_files_properties("${PROJECT_SOURCE_DIR}/src/kernels/cpu/loops_${kind}.cpp" PROPERTIES
      SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${options};${for_${kind}}")
  endforeach()
  # at::parallel_for is a template that runs on one thread where it is compiled without OpenMP, as the precompiled header
  # is. LibTorch brings the same libgomp.so.1, so that there is one set of threads.
  set_target_properties(ddpm_kernels PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
  target_compile_options(ddpm_kernels PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  target_link_libraries(ddpm_kernels PUBLIC gomp)
endfunction()
