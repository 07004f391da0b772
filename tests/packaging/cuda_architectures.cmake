# Which GPUs the CUDA sources are compiled for: cmake -DMODULE=cmake/CudaArchitectures.cmake -DSCRATCH=DIR -P cuda_architectures.cmake
# A made-up nvidia-smi and nvcc stand for the machine's.
cmake_minimum_required(VERSION 3.25)
include("${MODULE}")

function(write_program name text)
  file(WRITE "${SCRATCH}/${name}" "#!/bin/sh\n${text}\n")
  file(CHMOD "${SCRATCH}/${name}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

function(expect what wanted expected)
  ddpm_cuda_architectures(found "${wanted}" "${SCRATCH}/nvcc")
  if(NOT found STREQUAL "${expected}")
    message(FATAL_ERROR "${what}: \"${found}\", not \"${expected}\"")
  endif()
endfunction()

file(REMOVE_RECURSE "${SCRATCH}")
set(ENV{PATH} "${SCRATCH}:$ENV{PATH}")
write_program(nvcc "printf 'compute_80\\ncompute_90\\ncompute_100\\ncompute_120\\n'")
write_program(nvidia-smi "printf '9.0\\n9.0\\n8.0\\n'")
expect("two H100 and an A100" AUTO "80-real;90-real;90-virtual")
write_program(nvidia-smi "printf '12.0\\n'")
expect("one RTX 50" AUTO "120-real;120-virtual")
expect("named ones come before those that are there" "80;90" "80-real;90-real;90-virtual")
write_program(nvidia-smi "echo 'No devices were found'; exit 6")
expect("no GPU" AUTO "80-real;90-real;100-real;120-real;120-virtual")
write_program(nvcc "printf 'compute_80\\ncompute_90\\n'")
expect("an older nvcc" AUTO "80-real;90-real;90-virtual")
