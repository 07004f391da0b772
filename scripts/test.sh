#!/usr/bin/env bash
# Sets up, builds and runs all tests. Safe to run again.
#
#   scripts/test.sh [--asan | --fuzz] [-- CTEST_OPTIONS...]
#
#   --asan   build the asan preset instead, and run the unit tests under the address and undefined-behaviour
#            sanitizers (not the end-to-end tests, which depend on the time of the real program)
#   --fuzz   build the fuzzing programs instead, and run each for a minute (scripts/fuzz.sh)
#   --help   show this text
#   --       pass the rest to ctest, e.g. -- -R io
#
# Without a GPU, tests that need one skip and say so.

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

preset=release
while (($# > 0)); do
  case $1 in
    --asan) preset=asan ;;
    --fuzz) preset=fuzz ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see scripts/test.sh --help" ;;
  esac
  shift
done

# Programs of others that read our files. Tests that need one skip if it cannot be installed.
install_checks() {
  python3 -I -m venv --clear "$1" &&
    "$1/bin/python" -I -m pip install --progress-bar off tensorboard==2.21.0 'setuptools<81' diffusers==0.42.1 &&
    "$1/bin/python" -I -c 'import tensorboard.backend.event_processing.event_accumulator' &&
    touch "$1/.complete-2"
}

# diffusers uses the torch that the program is built with; a second one would take gigabytes.
lend_torch() {
  local packages
  for packages in "$(dirname "$1")"/torch-*/lib/python3*/site-packages; do
    [[ -d $packages ]] && echo "$packages" >"$(echo "$1"/lib/python3*/site-packages)/torch.pth"
  done
}

set_up_checks() {
  local venv="${DDPM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ddpm}/checks"
  [[ -e $venv/.complete-2 ]] ||
    (logged checks "installing tensorboard and diffusers into $venv, to read our files" install_checks "$venv") ||
    say "the tests with them will skip"
  lend_torch "$venv" || true
}

"$root/scripts/setup.sh"
[[ $preset != fuzz ]] || exec "$root/scripts/fuzz.sh"
set_up_checks
build_preset "$preset"
say "testing build/$preset"
# Each test uses one thread, so two of them fill two cores.
cd "$root"
OMP_NUM_THREADS=1 ctest --preset "$preset" -j 2 "$@"
say "all tests passed"
