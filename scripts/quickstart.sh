#!/usr/bin/env bash
# From a fresh machine to sampled images. Sets up, builds the program (not its tests), and trains a small model on
# small generated scenes. Then samples from it with DDIM and prints the path of the picture. Safe to run again.
#
#   scripts/quickstart.sh [--cuda]
#
#   --cuda   compile the CUDA sources, and fetch nvcc, even if there is no GPU (see scripts/setup.sh)
#   --help   show this text
#
# After the build, training and sampling take at most 10 minutes on two CPU cores.

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

setup_options=()
for argument in "$@"; do
  case $argument in
    --cuda) setup_options+=(--cuda) ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$argument'; see scripts/quickstart.sh --help" ;;
  esac
done

# show COMMAND...: prints the command and runs it.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

"$root/scripts/setup.sh" "${setup_options[@]}"
# Only the program, for this machine's GPU. A build folder that is already configured keeps its configuration.
cmake_options=()
if ((${#setup_options[@]} == 0)) && ! gpu_present && [[ ! -e $root/build/release/CMakeCache.txt ]]; then
  cmake_options+=(-DDDPM_CUDA=OFF)
fi
build_preset release ddpm "${cmake_options[@]}"

cd "$root"
out="samples/quickstart"
show build/release/ddpm train --config configs/quickstart.toml
show build/release/ddpm sample --ckpt runs/quickstart --steps 50 --ddim --num 64 --out "$out" --overwrite

printf '\n'
say "64 images, sampled by DDIM in 50 steps: $root/$out-grid.png"
say "next: README.md, \"Train on your own images\""
