# shellcheck shell=bash
# Shared by the other scripts (sourced, not run). One line per step; the full output goes to a log, which is
# shown only if the step fails.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log_dir="$root/build/logs"
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export HOME

say() { printf '[ddpm] %s\n' "$*"; }

# fail "the problem; a remedy": ends the script.
fail() {
  printf '[ddpm] error: %s\n' "$*" >&2
  exit 1
}

# The comment block at the top of a script is its --help text.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# On a terminal, shows the last line of a growing log until it is killed or the script ends.
follow() {
  local log=$1 columns
  columns=$(tput cols 2>/dev/null || echo 80)
  while sleep 0.5 && kill -0 $$ 2>/dev/null; do
    printf '\r\033[K  %s' "$(tail -c 4096 "$log" 2>/dev/null | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 |
      tr -cd '[:print:]' | cut -c "1-$((columns - 3))")"
  done
}

# logged NAME "description" COMMAND...: runs it with its output in build/logs/NAME.log. A COMMAND that is a
# function must chain its steps by &&, because bash ignores set -e in it.
logged() {
  local name=$1 what=$2 follower="" status=0 start=$SECONDS
  shift 2
  mkdir -p "$log_dir"
  local log="$log_dir/$name.log"
  say "$what (log: ${log#"$PWD/"})"
  if [[ -t 1 ]]; then
    follow "$log" &
    follower=$!
  fi
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [[ -n $follower ]]; then
    kill "$follower" 2>/dev/null
    wait "$follower" 2>/dev/null || true
    printf '\r\033[K'
  fi
  if ((status != 0)); then
    tail -n 40 "$log" | sed 's/^/    /' >&2
    fail "$what: failed (status $status); the full output is in $log"
  fi
  ((SECONDS - start < 2)) || say "  done in $((SECONDS - start)) s"
}

# A compiler needs up to 2 GB for a file that includes all of LibTorch.
build_jobs() {
  local cores memory
  # nproc obeys OMP_NUM_THREADS, which says nothing about a build.
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 2)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 2000000)}' /proc/meminfo 2>/dev/null || echo "$cores")
  ((memory >= 1)) || memory=1
  echo $((cores < memory ? cores : memory))
}

gpu_present() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# build_preset release|debug|asan [TARGET [CMAKE_OPTIONS...]]: configures build/<preset> and builds all of it, or
# only the target.
build_preset() {
  cd "$root" || exit
  logged "configure-$1" "configuring build/$1" cmake --preset "$1" "${@:3}"
  # Important lines of CMake's output, above all what was left out and why.
  grep -h -E '^-- (CUDA sources|LibTorch)' "$log_dir/configure-$1.log" | sed 's/^-- /[ddpm]   /' || true
  logged "build-$1" "building build/$1 with $(build_jobs) jobs" cmake --build --preset "$1" --target "${2:-all}" -j "$(build_jobs)"
}
