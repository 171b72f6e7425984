#!/usr/bin/env bash
# benchmarks/on_gpu.sh [--cpu] [--to FOLDER] [PART...]
#
# A quarter of an hour on one NVIDIA GPU. Parts, in this order, each with its own time limit:
#
#   speed    3.5 min  the networks of mixed.py and potterhsu.py beside PyTorch (against_pytorch.py)
#   train    7 min    the command in $TRAIN; what it leaves in $RUN is packed, at most 15 MB a file
#   profile  3 min    a profile of the train step of mixed.py
#
# Each part writes its files to FOLDER as it runs, so a later part cannot cost an earlier result.
#
#   --to FOLDER  default $OUT, else gpu-figures
#   --cpu        tiny sizes on a CPU and six times the limits, as a rehearsal
#   PYTHON=      the Python; default .venv/bin/python, else python3
set -uo pipefail

out="${OUT:-gpu-figures}" is_cpu="" parts=()
while [ $# -gt 0 ]; do
  case "$1" in
    --cpu) is_cpu=1 ;;
    --to) out="${2:?--to needs a folder}" && shift ;;
    speed | train | profile) parts+=("$1") ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
  shift
done
[ "${#parts[@]}" -gt 0 ] || parts=(speed train profile)

mkdir -p "$out" && out="$(cd "$out" && pwd)" || exit
cd "$(dirname "$0")/.." || exit
python="${PYTHON:-.venv/bin/python}"
[ -x "$python" ] || python=python3
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 COLUMNS=120

configs=(mixed potterhsu) speed_s=105 factor=1
sizes=(--rounds 3 --batch-size 512 --modes eager default --limit-s 45)
profile=(--json --steps 100 --batch-size 512)
if [ -n "$is_cpu" ]; then
  factor=6
  export JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=1
  sizes=(--rounds 1 --steps 1 --batch-size 4 --modes eager)
  profile=(--json --steps 2 --batch-size 4)
fi
failed=0

# NAME LIMIT_S COMMAND...: runs the command under its limit; its output goes to NAME.log.
measure() {
  local name="$1" limit_s=$((factor * $2))
  shift 2
  echo "$name: $*"
  timeout --kill-after=10 "$limit_s" "$@" > "$out/$name.log" 2>&1
  local status=$?
  tail -n 12 "$out/$name.log"
  if [ "$status" != 0 ]; then
    failed=1
    echo "$name: ended with status $status (124: its limit of $limit_s s)"
  fi
}

for part in "${parts[@]}"; do
  case "$part" in
    speed)
      nvidia-smi > "$out/nvidia-smi.log" 2>&1
      for config in "${configs[@]}"; do
        measure "speed-$config" "$speed_s" "$python" benchmarks/against_pytorch.py "${sizes[@]}" \
          --config "configs/$config.py" --to "$out/speed-$config.json"
      done
      ;;
    train)
      [ -n "${TRAIN:-}" ] || { echo "train: no command in TRAIN" && continue; }
      measure train 420 bash -c "$TRAIN"
      [ ! -d "${RUN:-}" ] || tar -cz "$RUN" | split -b 15M -d - "$out/run.tar.gz."
      ;;
    profile)
      measure profile 180 "$python" benchmarks/profile_step.py --config configs/mixed.py \
        "${profile[@]}"
      ;;
  esac
done
exit "$failed"
