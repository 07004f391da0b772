#!/usr/bin/env bash
# Sets up, builds and runs all tests. Safe to run again.
#
#   scripts/test.sh [--asan] [-- CTEST_OPTIONS...]
#
#   --asan   build the asan preset instead, and run the unit tests under the address and undefined-behaviour
#            sanitizers (not the end-to-end tests, which time the real program)
#   --help   show this text
#   --       hand the rest to ctest, e.g. -- -R io
#
# Tests that need a GPU skip, saying so, where there is none.

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

preset=release
while (($# > 0)); do
  case $1 in
    --asan) preset=asan ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see scripts/test.sh --help" ;;
  esac
  shift
done

"$root/scripts/setup.sh"
build_preset "$preset"
say "testing build/$preset"
# Tests compute on one thread each, so two of them fill two cores.
cd "$root"
OMP_NUM_THREADS=1 ctest --preset "$preset" -j 2 "$@"
say "all tests passed"
