#!/bin/bash
# Ten minutes on a GPU: tests, memory checks, profile, comparison with PyTorch, a run that is
# stopped and resumed. Needs the built program and tests, and Python with PyTorch; no network.
#
#   gpu_session.sh [--build DIR] [--out DIR] [--device cuda|cpu] [--parts LIST] [--skip-compile]
#
#   --build DIR     where ddpm and the *_test programs are (default: build/release)
#   --out DIR       one file per part, and summary.txt (default: gpu_session)
#   --device        cpu: a small network, to try this script without a GPU
#   --parts LIST    of: info,tests,sanitizer,bench,torch,context,start,run (default: all)
#   --skip-compile  leaves out torch.compile, which takes minutes
#
# Each part has a time limit. What it wrote before the limit stays.
set -u
build=build/release out=gpu_session device=cuda skip_compile=0
parts=info,tests,sanitizer,bench,torch,context,start,run
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build="$2"; shift 2 ;;
    --out) out="$2"; shift 2 ;;
    --device) device="$2"; shift 2 ;;
    --parts) parts="$2"; shift 2 ;;
    --skip-compile) skip_compile=1; shift ;;
    -h | --help) sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 0 ;;
    *) echo "gpu_session.sh: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.." || exit 1
[ -x "$build/ddpm" ] || { echo "gpu_session.sh: $build/ddpm does not exist; build it first" >&2; exit 1; }
mkdir -p "$out" && out=$(cd "$out" && pwd)
summary="$out/summary.txt"
: > "$summary"
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
ddpm="$build/ddpm"

procedural=(--set data.kind=procedural --set data.size=8192 --set data.image_size=32 --set data.channels=3)
if [ "$device" = cuda ]; then
  config=configs/cifar10.toml
  network=("${procedural[@]}")
else
  config=configs/bench_small.toml
  network=(--set model.channels=32 --set train.batch_size=8)
fi

# part NAME SECONDS COMMAND...: runs it if --parts names it; its output goes to NAME.txt.
part() {
  local name="$1" limit="$2" begin status
  shift 2
  case ",$parts," in *",$name,"*) ;; *) return ;; esac
  begin=$(date +%s.%N)
  timeout --kill-after=5 "$limit" "$@" > "$out/$name.txt" 2>&1
  status=$?
  [ "$status" -eq 124 ] && status="124 (stopped after $limit s)"
  printf '== %s: status %s, %.1f s\n' "$name" "$status" "$(echo "$(date +%s.%N) - $begin" | bc -l 2> /dev/null ||
    python3 -c "import time; print(time.time() - $begin)")" | tee -a "$summary"
}
# pick NAME PATTERN [COUNT]: the lines of a part's output that belong in the summary.
pick() {
  [ -f "$out/$1.txt" ] && grep -E "$2" "$out/$1.txt" | head -n "${3:-20}" | tee -a "$summary"
}

info() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
  python3 -c 'import torch; print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version())'
  lscpu | grep -E 'Model name|^CPU\(s\)'
  "$ddpm" --version
}

run_tests() {
  local failed=0 test
  for test in base kernels diffusion nn data sample train bench; do
    [ -x "$build/${test}_test" ] || continue
    echo "-- $test"
    timeout 90 "$build/${test}_test" --gtest_filter='*Gpu.*' --gtest_brief=1 || failed=1
  done
  return $failed
}

# racecheck looks at shared memory: of the kernels that have any, and of ours alone, as cuBLAS' own kernels report
# hazards.
sanitizer() {
  local shared='GroupNormSlabGpu.*:GroupNormBlocksGpu.*:ThinConvolutionGpu.*:ChannelOperationsGpu.*'
  local all="$shared:FusedBlockGpu.*:CastAllGpu.*:LerpAllGpu.*:UpsampleGpu.*:RandomGpu.*"
  local sanitize=(compute-sanitizer --error-exitcode 9)
  echo "-- memcheck"
  timeout 60 "${sanitize[@]}" --tool memcheck "$build/kernels_test" --gtest_filter="$all" --gtest_brief=1 || return 1
  echo "-- racecheck"
  timeout 60 "${sanitize[@]}" --tool racecheck "$build/kernels_test" --gtest_filter="$shared" --gtest_brief=1 || return 1
  timeout 60 "${sanitize[@]}" --tool racecheck --kernel-name kns=ddpm "$build/kernels_test" \
    --gtest_filter='FusedBlockGpu.EqualsAten*' --gtest_brief=1 || return 1
}

bench() {
  "$ddpm" bench --config "$config" --device "$device" "${network[@]}" --what train,forward,sample --warm-up 5 \
    --repeats 15 --sample-steps 100 --profile --trace "$out/trace.json" || return
  [ "$device" = cuda ] && "$ddpm" bench --config "$config" --device "$device" "${network[@]}" --batch 512 \
    --what train,forward --warm-up 5 --repeats 9 --sample-steps 30
}

compare_torch() {
  local what=eager,graph,reduce-overhead
  [ $skip_compile -eq 1 ] && what=eager,graph
  [ "$device" = cpu ] && what=eager
  python3 scripts/compare_pytorch.py --program "$ddpm" --config "$config" --device "$device" "${network[@]}" \
    --precision bf16 --what "$what" --rounds 2 --repeats 9
}

# GPU memory in MiB that is in use while a run on the CPU is under way: a CUDA context takes hundreds.
context() {
  local before during
  before=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits)
  "$ddpm" train --config configs/bench_small.toml --out "$scratch/cpu" --device cpu --set model.channels=32 \
    --set train.batch_size=8 > "$scratch/cpu.log" 2>&1 &
  local run=$!
  sleep 12
  during=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits)
  tail -n 1 "$scratch/cpu.log"
  echo "GPU memory in use: $before MiB before, $during MiB while a run with --device cpu is under way"
  ls -l "/proc/$run/fd" | grep -o '/dev/nvidia.*' | sort | uniq -c
  kill -TERM $run
  wait $run
  true
}

# Seconds from the program's start to the end of a run of few steps: what must be paid before the first.
start() {
  local precision begin
  for precision in bf16 fp32; do
    begin=$(date +%s%N)
    "$ddpm" train --config "$config" --device "$device" "${network[@]}" --out "$scratch/start-$precision" \
      --set train.steps=4 --set train.precision=$precision --set train.sample_every=0 > "$scratch/start.log" 2>&1 || cat "$scratch/start.log"
    echo "$precision: 4 steps and a checkpoint in $((($(date +%s%N) - begin) / 1000000)) ms"
  done
}

# A run that SIGTERM stops, resumes and ends; then pictures of it.
run() {
  local log="$scratch/run.log" steps=600 pid begin
  [ "$device" = cpu ] && steps=150
  "$ddpm" train --config "$config" --device "$device" "${network[@]}" --out "$scratch/run" --set train.steps=$steps \
    --set train.sample_every=0 --set train.log_every=50 > "$log" 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    sleep 0.2
    [ "$(wc -l 2> /dev/null < "$scratch/run/metrics.jsonl")" -ge 1 ] 2> /dev/null && break
  done
  kill -TERM $pid
  wait $pid
  echo "stopped: status $?"
  "$ddpm" train --config "$config" --device "$device" "${network[@]}" --out "$scratch/run" --set train.steps=$steps \
    --set train.sample_every=0 --set train.log_every=50 --resume auto >> "$log" 2>&1
  echo "resumed: status $?"
  tail -n 25 "$log"
  begin=$(date +%s%N)
  "$ddpm" sample --ckpt "$scratch/run" --device "$device" --ddim --steps 50 --num 100 --out "$scratch/pictures"
  echo "sample --num 100 --steps 50: $((($(date +%s%N) - begin) / 1000000)) ms"
}

# `timeout` runs programs, so each part is a call of this script's own functions.
export build out device skip_compile ddpm config scratch
export -f info run_tests sanitizer bench compare_torch context start run
call() { # call NAME SECONDS FUNCTION: with the arrays, which cannot be exported
  part "$1" "$2" bash -c "network=($(printf '%q ' "${network[@]}")); $3"
}
call info 20 info
pick info .
call tests 240 run_tests
pick tests 'PASSED|FAILED|-- ' 60
call sanitizer 130 sanitizer
pick sanitizer 'ERROR SUMMARY|RACECHECK SUMMARY|FAILED|-- '
call bench 120 bench
pick bench '^median|convolutions alone|with backward|training step  |^forward |^sampling|peak memory|on the GPU|^ +[0-9.]+ +[0-9.]+ % +[0-9]+  [a-z]+$' 60
call torch 300 compare_torch
pick torch '^[|]|^train:|^forward:|ready in' 30
call context 40 context
pick context .
call start 100 start
pick start .
call run 120 run
pick run 'stopped:|resumed:|sample --num|images/s|step ' 16
