#!/bin/bash
# Runs scripts/slurm_train.sbatch under a real SLURM of this one machine, stops it in several ways, and compares the end
# with an uninterrupted run, bit for bit. By hand, as root, on Debian with: apt install slurm-wlm munge
#     [LONG=1] [STEPS=N] tests/faults/slurm.sh [DDPM_PROGRAM]
# LONG adds a job that reaches its time limit. Everything lies in a temporary folder; slurmctld, slurmd and munged end
# with the script.
set -euo pipefail

root="$(cd "$(dirname "$0")/../.." && pwd)"
program="$(realpath "${1:-$root/build/release/ddpm}")"
for tool in slurmctld slurmd munged sbatch; do
  command -v "$tool" > /dev/null || { echo "skipped: $tool is missing (apt install slurm-wlm munge)"; exit 77; }
done
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root"; exit 77; }

folder="$(mktemp -d "${TMPDIR:-/tmp}/ddpm-slurm-XXXXXX")"
chmod 755 "$folder"
host="$(hostname -s)"
export SLURM_CONF="$folder/slurm.conf" OMP_NUM_THREADS=1
pids=()

finish() {
  scancel --quiet --user=root 2> /dev/null || true
  for _ in $(seq 60); do  # until their processes have ended: nobody else would end them
    [ -z "$(squeue --noheader 2> /dev/null)" ] && break
    sleep 0.5
  done
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  wait 2> /dev/null || true
  if [ "$ok" = yes ]; then rm -rf "$folder"; fi
}
ok=no
trap finish EXIT
trap 'exit 1' INT TERM

start_slurm() {
  mkdir "$folder/munge" "$folder/state" "$folder/spool"
  head -c 128 /dev/urandom > "$folder/munge/key"
  chmod 700 "$folder/munge"
  chmod 400 "$folder/munge/key"
  mkdir "$folder/socket"  # munged wants it to be its own, and open to others
  cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/socket/munge.socket
CredType=cred/munge
SlurmctldPort=17817
SlurmdPort=17818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,default_queue_depth=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SwitchType=switch/none
KillWait=15
OverTimeLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
  # In sessions of their own, so that a Ctrl-C meant for this script leaves them to end its jobs.
  setsid munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/socket/munge.socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" \
    > "$folder/munge/out" 2>&1 &
  pids+=($!)
  sleep 1
  setsid slurmctld -D > "$folder/slurmctld.out" 2>&1 &
  pids+=($!)
  setsid slurmd -D -N "$host" > "$folder/slurmd.out" 2>&1 &
  pids+=($!)
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --format=%t --partition=low 2> /dev/null)" = idle ] && return
    sleep 1
  done
  echo "SLURM does not start: $(tail -n 3 "$folder/slurmctld.log" "$folder/slurmd.log")"
  exit 1
}
start_slurm

cd "$folder"
(cd "$root/tests/faults" && python3 -B -c 'import harness; print(harness.CONFIG)') > tiny.toml
# So many that a run lasts until it is stopped.
readonly steps="${STEPS:-400}"
more=(--set train.checkpoint_every=1000000 --set train.log_every=100)
export DDPM="$program"

submit() { # RUN FLAGS... : prints the job's number
  local run="$1"
  shift
  sbatch --parsable --ntasks-per-node=2 --gpus-per-node=0 --cpus-per-task=1 --output="$folder/$run.log" "$@" \
    "$root/scripts/slurm_train.sbatch" tiny.toml --out "$run" --set train.steps="$steps" "${more[@]}"
}

state() { squeue --noheader --format=%T --jobs="$1" 2> /dev/null || true; }

wait_until() { # JOB WHAT CONDITION...
  local job="$1" what="$2" pending=0
  shift 2
  for _ in $(seq 1000); do
    if "$@"; then return; fi
    # A job that was put into the queue again waits there for two minutes, until its former life is cleared away for
    # certain; a few seconds do here.
    if [ "$(state "$job")" = PENDING ]; then pending=$((pending + 1)); else pending=0; fi
    if [ "$pending" -eq 25 ]; then scontrol update jobid="$job" starttime=now 2> /dev/null || true; fi
    sleep 0.3
  done
  echo "FAILED: job $job does not reach: $what ($(state "$job"))"
  tail -n 20 "$folder"/*.log
  exit 1
}

has_started() { [ -f "$folder/$1.log" ] && [ "$(grep -c 'network:' "$folder/$1.log")" -ge "$2" ]; }
has_ended() { case "$(state "$1")" in "" | COMPLETED | FAILED | CANCELLED | TIMEOUT) return 0 ;; *) return 1 ;; esac; }

compare() { # RUN WHAT-WAS-DONE
  local run="$1" step
  step="$(printf 'step-%09d' "$steps")"
  for file in model ema ema-2 optimizer; do
    cmp "$folder/whole/checkpoints/$step/$file.safetensors" "$folder/$run/checkpoints/$step/$file.safetensors" || {
      echo "FAILED: $run differs"
      exit 1
    }
  done
  echo "$run: $2; $(grep -c 'network:' "$folder/$run.log") starts, $(grep -c 'resumed from' "$folder/$run.log") resumes," \
    "$(grep -c 'stopped by' "$folder/$run.log") saves on a signal; bit-equal to the uninterrupted run"
}

job="$(submit whole --time=10)"
wait_until "$job" "the end" has_ended "$job"
grep -q "2 processes (SLURM), 2 on this machine" whole.log || { cat whole.log; echo "FAILED: not two processes"; exit 1; }

# 1. SIGUSR1, as --signal sends before the time is up: saves, ends with 75, and the script queues itself again.
job="$(submit warned --time=10)"
for life in 1 2; do
  wait_until "$job" "start $life" has_started warned "$life"
  sleep 1
  scancel --signal=USR1 "$job"
done
wait_until "$job" "start 3" has_started warned 3
wait_until "$job" "the end" has_ended "$job"
compare warned "scancel --signal=USR1 twice"

# 2. scontrol requeue by an operator: SIGTERM, and the job is queued again.
job="$(submit requeued --time=10)"
wait_until "$job" "start 1" has_started requeued 1
sleep 1
scontrol requeue "$job"
wait_until "$job" "start 2" has_started requeued 2
wait_until "$job" "the end" has_ended "$job"
compare requeued "scontrol requeue"

# 3. Preemption by a job of a higher partition.
job="$(submit preempted --time=10)"
wait_until "$job" "start 1" has_started preempted 1
sleep 1
other="$(sbatch --parsable --partition=high --exclusive --ntasks=1 --time=1 --output=/dev/null --wrap 'sleep 2')"
wait_until "$other" "the end of the other" has_ended "$other"
wait_until "$job" "start 2" has_started preempted 2
wait_until "$job" "the end" has_ended "$job"
compare preempted "preempted by a job of higher priority"

# 4. scancel ends it for good, with a checkpoint.
job="$(submit cancelled --time=10)"
wait_until "$job" "start 1" has_started cancelled 1
sleep 1
scancel "$job"
sleep 8
case "$(scontrol --oneliner show job "$job")" in
  *JobState=CANCELLED*) echo "cancelled: scancel; $(grep 'stopped by' cancelled.log | sed 's/.*info //'); it stays cancelled" ;;
  *) scontrol show job "$job"; cat cancelled.log; echo "FAILED: scancel did not end it"; exit 1 ;;
esac

# 5. The time limit: SLURM itself sends SIGUSR1 before it, up to a minute earlier than asked for. Pictures, which change
# nothing, make the run long enough.
if [ -n "${LONG:-}" ]; then
  more+=(--set train.sample_every=1 --set train.sample_count="${PICTURES:-8}")
  job="$(submit limited --time=2 --signal=USR1@20)"
  wait_until "$job" "start 2" has_started limited 2
  wait_until "$job" "the end" has_ended "$job"
  compare limited "time limit of 2 minutes, --signal=USR1@20"
fi
ok=yes
