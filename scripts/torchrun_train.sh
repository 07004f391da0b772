#!/bin/bash
# Trains with torchrun. If one process fails, it restarts all of them, and they resume from the newest checkpoint:
#     scripts/torchrun_train.sh CONFIG [more arguments of ddpm train]                            one machine
#     NNODES=2 RDZV_ENDPOINT=node01:29500 scripts/torchrun_train.sh CONFIG ...    the same command on each machine
# NPROC: processes per machine (default: its GPUs, or 1). MAX_RESTARTS: number of restarts (default 3).
# The program is $DDPM, or this repository's build/release/ddpm. torchrun is $TORCHRUN, or that of setup.sh.
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
cache="${DDPM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ddpm}"
program="${DDPM:-$root/build/release/ddpm}"
torchrun="${TORCHRUN:-$(ls -d "$cache"/torch-*/bin/torchrun 2> /dev/null | tail -n 1 || true)}"
config="${1:?usage: scripts/torchrun_train.sh CONFIG [arguments of ddpm train]}"
shift
if [ -z "$torchrun" ]; then
  echo "torchrun does not exist below $cache; run scripts/setup.sh, or set TORCHRUN to its path" >&2
  exit 2
fi

gpus="$(nvidia-smi --list-gpus 2> /dev/null | wc -l || true)"
nodes="${NNODES:-1}"
meeting=(--rdzv-endpoint="${RDZV_ENDPOINT:-localhost:0}")
if [ "$nodes" = 1 ]; then
  meeting+=(--local-addr=127.0.0.1)
elif [ -z "${RDZV_ENDPOINT:-}" ]; then
  echo "NNODES is $nodes, but RDZV_ENDPOINT is not set; set it to HOST:PORT of one of the machines, the same on all" >&2
  exit 2
fi

# To stop the run with a checkpoint, signal torchrun (SIGTERM): it passes the signal on and waits 30 s.
exec "$torchrun" --no-python --nnodes="$nodes" --nproc-per-node="${NPROC:-$((gpus > 0 ? gpus : 1))}" \
  --rdzv-backend=c10d --rdzv-id="${RDZV_ID:-ddpm}" "${meeting[@]}" --max-restarts="${MAX_RESTARTS:-3}" \
  "$program" train --config "$config" "$@"
