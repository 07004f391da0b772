# ddpm_cpu_loops(): src/kernels/cpu/loops_*.cpp and src/kernels/amx/tiles_*.cpp hold the innermost loops, one file per kind
# of processor; the program chooses one when it runs. They include neither torch's headers nor the standard library's: a
# shared inline function compiled for AVX-512 could otherwise be the copy that the linker keeps for all.
function(ddpm_cpu_loops)
  set(options -O3 -fno-math-errno -fno-trapping-math -Wno-psabi)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(flags_loops_avx2 -mavx2 -mfma)
    set(flags_loops_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq ${flags_loops_avx2}
      -Wno-maybe-uninitialized)  # GCC 12, in its own header
    set(flags_tiles_avx2 ${flags_loops_avx2})
    set(flags_tiles_avx512 ${flags_loops_avx512})
    include(CheckCXXCompilerFlag)
    check_cxx_compiler_flag("-mavx512bf16 -mamx-tile -mamx-bf16" DDPM_COMPILER_KNOWS_AMX)
    if(DDPM_COMPILER_KNOWS_AMX)
      set(flags_loops_avx512bf16 ${flags_loops_avx512} -mavx512bf16)
      set(flags_tiles_avx512bf16 ${flags_loops_avx512bf16})
      set(flags_tiles_amx ${flags_loops_avx512bf16} -mamx-tile -mamx-bf16)
    endif()
  endif()
  foreach(file cpu/loops_base cpu/loops_avx2 cpu/loops_avx512 cpu/loops_avx512bf16 amx/tiles_plain amx/tiles_avx2
          amx/tiles_avx512 amx/tiles_avx512bf16 amx/tiles_amx)
    get_filename_component(name "${file}" NAME)
    set_source_files_properties("${PROJECT_SOURCE_DIR}/src/kernels/${file}.cpp" PROPERTIES
      SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${options};${flags_${name}}")
  endforeach()
endfunction()
