#!/usr/bin/env bash
# Builds the fuzzing programs (clang's libFuzzer, address and undefined-behaviour sanitizers) and runs each.
#
#   scripts/fuzz.sh [--seconds N] [--jobs N] [NAME...]
#
#   NAME         readers to fuzz, as in tests/fuzz/NAME_fuzz.cpp (default: all)
#   --seconds N  seconds per reader (default: 60)
#   --jobs N     readers at the same time (default: the number of cores)
#   --help       show this text
#
# Inputs start from tests/fuzz/corpus/NAME and the golden files. New ones are kept in build/fuzz/corpus/NAME. An
# input that makes a reader fail is kept in build/fuzz/NAME-crash-* and printed. To run it again:
#   build/fuzz/fuzz_NAME FILE

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

seconds=60
jobs=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
names=()
while (($# > 0)); do
  case $1 in
    --seconds | --jobs)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "$1 needs a positive number"
      declare "${1#--}=$2"
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown option '$1'; see scripts/fuzz.sh --help" ;;
    *) names+=("$1") ;;
  esac
  shift
done
command -v clang++ >/dev/null || fail "clang++ is needed: apt-get install clang libclang-rt-14-dev"

cd "$root"
build_preset fuzz
if ((${#names[@]} == 0)); then
  mapfile -t names < <(for file in tests/fuzz/*_fuzz.cpp; do basename "$file" _fuzz.cpp; done)
fi
for name in "${names[@]}"; do
  [[ -x build/fuzz/fuzz_$name ]] || fail "unknown reader '$name'; tests/fuzz has one file per reader"
done

# Examples of each format, written by other programs.
golden_seeds() {
  case $1 in
    torch | pickle) find tests/golden -name '*.pt' -o -name '*.pth' -o -name '*.bin' ;;
    safetensors) find tests/golden -name '*.safetensors' -size -64k ;;
    npz | zip) find tests/golden -name '*.np[yz]' -size -64k ;;
    toml) find configs -name '*.toml' ;;
    diffusers) find tests/golden -name '*config.json' ;;
  esac
}

run_one() {
  local name=$1 corpus=build/fuzz/corpus/$1 log=build/fuzz/$1.log status=0 seed
  mkdir -p "$corpus"
  while read -r seed; do
    cp --no-clobber "$seed" "$corpus/${seed//\//-}"
  done < <(golden_seeds "$name")
  [[ ! -d tests/fuzz/corpus/$name ]] || cp --no-clobber "tests/fuzz/corpus/$name"/* "$corpus"
  "build/fuzz/fuzz_$name" "$corpus" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3000 \
    -malloc_limit_mb=1000 -max_len=65536 -artifact_prefix="build/fuzz/$name-" -print_final_stats=1 \
    >"$log" 2>&1 || status=$?
  if ((status != 0)); then
    say "$name: FAILED (status $status); from $log:"
    grep -E 'ERROR|SUMMARY|Test unit written|runtime error' "$log" | head -n 5 | sed 's/^/    /'
    return 1
  fi
  say "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
}

say "fuzzing ${#names[@]} readers for $seconds s each, $jobs at a time"
failed=0
running=0
for name in "${names[@]}"; do
  if ((running >= jobs)); then
    wait -n || failed=1
    running=$((running - 1))
  fi
  run_one "$name" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || failed=1
  running=$((running - 1))
done
((failed == 0)) || fail "some readers failed; see above"
say "nothing was found"
