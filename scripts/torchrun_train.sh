#!/bin/bash
# Trains with torchrun, which begins all processes anew, from the newest checkpoint, where one of them fails:
#     scripts/torchrun_train.sh CONFIG [more arguments of ddpm train]                            one machine
#     NNODES=2 RDZV_ENDPOINT=node01:29500 scripts/torchrun_train.sh CONFIG ...    the same command on each machine
# NPROC: processes of a machine (default: its GPUs, or 1). MAX_RESTARTS: how often (default 3).
# The program is $DDPM, or build/release/ddpm beside this script's folder; torchrun is $TORCHRUN, or what setup.sh installed.
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
cache="${DDPM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ddpm}"
program="${DDPM:-$root/build/release/ddpm}"
torchrun="${TORCHRUN:-$(ls -d "$cache"/torch-*/bin/torchrun 2> /dev/null | tail -n 1 || true)}"
config="${1:?usage: scripts/torchrun_train.sh CONFIG [arguments of ddpm train]}"
shift
if [ -z "$torchrun" ]; then
  echo "torchrun is not below $cache; run scripts/setup.sh, or name it with TORCHRUN" >&2
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

# To stop the run with a checkpoint, signal torchrun (SIGTERM): it passes that on and waits 30 s.
exec "$torchrun" --no-python --nnodes="$nodes" --nproc-per-node="${NPROC:-$((gpus > 0 ? gpus : 1))}" \
  --rdzv-backend=c10d --rdzv-id="${RDZV_ID:-ddpm}" "${meeting[@]}" --max-restarts="${MAX_RESTARTS:-3}" \
  "$program" train --config "$config" "$@"
