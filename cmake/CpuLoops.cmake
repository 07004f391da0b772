# ddpm_cpu_loops(): src/kernels/cpu/{loops,tiles}_*.cpp hold the innermost loops, one file per
# instruction set; the program chooses at run time. They include neither torch's headers nor the
# standard library's. Otherwise the linker could keep a shared inline function compiled for AVX-512
# as the copy for all.
function(ddpm_cpu_loops)
  set(options -O3 -fno-math-errno -fno-trapping-math -Wno-psabi)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(flags_loops_avx2 -mavx2 -mfma)
    set(flags_loops_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq ${flags_loops_avx2}
      -Wno-maybe-uninitialized)  # GCC 12, in its own header
    include(CheckCXXCompilerFlag)
    check_cxx_compiler_flag("-mavx512bf16 -mamx-tile -mamx-bf16" DDPM_COMPILER_KNOWS_TILES)
    if(DDPM_COMPILER_KNOWS_TILES)
      set(flags_loops_avx512bf16 ${flags_loops_avx512} -mavx512bf16)
      set(flags_tiles_amx ${flags_loops_avx512bf16} -mamx-tile -mamx-bf16)
    endif()
  endif()
  foreach(file loops_base loops_avx2 loops_avx512 loops_avx512bf16 tiles_plain tiles_amx)
    set_source_files_properties("${PROJECT_SOURCE_DIR}/src/kernels/cpu/${file}.cpp" PROPERTIES
      SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${options};${flags_${file}}")
  endforeach()
endfunction()
