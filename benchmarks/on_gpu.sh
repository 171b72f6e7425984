#!/usr/bin/env bash
# benchmarks/on_gpu.sh [--cpu] [--to FOLDER] [--wheels FOLDER] NAME... | all
#
# Measures of docs/performance.md that want a GPU, by name; without a name it lists them. Each has a time limit of its
# own, under 8 minutes, and leaves one archive, FOLDER/NAME.tar.gz: its log, its errors, result.json (the last line), the
# optimized HLO of the train steps, nvidia-smi. FOLDER: --to, or $OUT, or gpu-figures.
#
# --wheels FOLDER  installs the wheels of that folder first, without a network, into a temporary folder; beside jax, flax,
#                  optax, orbax, h5py, torch, rich and etils it takes tyro, typeguard, docstring-parser and tensorboardX
# --cpu            tiny sizes on a CPU: whether the commands run, not how fast
# PYTHON=          the Python; default .venv/bin/python, or else python3
set -uo pipefail

out="${OUT:-gpu-figures}" wheels="" is_cpu="" names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --cpu) is_cpu=1 ;;
    --to | --wheels)
      [ $# -ge 2 ] || { echo "error: $1 needs a folder" >&2; exit 2; }
      if [ "$1" = --to ]; then out="$2"; else wheels="$2"; fi
      shift
      ;;
    -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done

all=(check potterhsu-512 potterhsu-1024 potterhsu-2048 full-512 full-1024 full-2048 real-512 demo-512
  train-full train-full-float32 train-full-4096 train-demo)
if [ "${#names[@]}" = 0 ]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  printf '%s\n' "measures: ${all[*]}" "CONFIG-BATCH is benchmarks/against_pytorch.py, train-... is python -m svhn_jax.benchmark"
  exit 0
fi
[ "${names[*]}" != all ] || names=("${all[@]}")

mkdir -p "$out" || exit
out="$(cd "$out" && pwd)"
work="$(mktemp -d)" || exit
trap 'rm -rf "$work"' EXIT
[ -z "$wheels" ] || wheels="$(cd "$wheels" && pwd)" || exit
cd "$(dirname "$0")/.." || exit
python="${PYTHON:-.venv/bin/python}"
[ -x "$python" ] || python=python3
if [ -n "$wheels" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --target "$work/site" "$wheels"/*.whl || exit
  export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" COLUMNS=160 PYTHONUNBUFFERED=1
own_flags="${XLA_FLAGS:-}"
peer_sizes=(--rounds 7 --limit-s 90) train_sizes=(--json --rounds 5)
if [ -n "$is_cpu" ]; then
  export JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES=
  peer_sizes=(--rounds 1 --steps 1 --images 8 --workers 1 --modes eager)
  train_sizes=(--json --rounds 1 --seconds 0.05 --images 64 --eval-batch-size 16 --no-starts)
fi

# Runs a command under its limit of time; the archive is written whatever becomes of it.
measure() {
  local name="$1" limit_s="$2" folder="$work/$1" status
  shift 2
  mkdir -p "$folder/hlo"
  printf '%s\n' "$*" > "$folder/command.txt"
  nvidia-smi > "$folder/nvidia-smi.txt" 2>&1
  export XLA_FLAGS="$own_flags --xla_dump_to=$work/dump --xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*train_step.*"
  echo "$name: $*"
  timeout --kill-after=10 "$limit_s" "$@" > "$folder/log.txt" 2> "$folder/errors.txt"
  status=$?
  tail -n 1 "$folder/log.txt" > "$folder/result.json"
  find "$work/dump" -name '*after_optimizations.txt' -exec mv {} "$folder/hlo" \; 2> /dev/null
  rm -rf "$work/dump"
  tar -czf "$out/$name.tar.gz" -C "$work" "$name" || failed=1
  if [ "$status" = 0 ]; then
    cat "$folder/log.txt"
    return
  fi
  failed=1
  tail -n 20 "$folder/log.txt" "$folder/errors.txt"
  if [ "$status" = 124 ] || [ "$status" = 137 ]; then echo "$name: ended after its limit of $limit_s s"; fi
  echo "$name FAILED with status $status: $out/$name.tar.gz"
  return "$status"
}

compare() {  # NAME, configs/NAME.py, batch size
  local batch="$3"
  [ -z "$is_cpu" ] || batch=4
  measure "$1" 470 "$python" benchmarks/against_pytorch.py "${peer_sizes[@]}" --config "configs/$2.py" --batch-size "$batch"
}

train() {  # NAME, configs/NAME.py, its images and further options
  local name="$1" config="$2"
  shift 2
  [ -z "$is_cpu" ] || set -- --batch-size 16
  measure "$name" 470 "$python" -m svhn_jax.benchmark "${train_sizes[@]}" --config "configs/$config.py" "$@"
}

failed=0
measure check 240 "$python" benchmarks/gpu_check.py ${is_cpu:+--cpu} || exit 1
for name in "${names[@]}"; do
  case "$name" in
    check) ;;
    # The full training set's size: 235,755 images; an epoch takes 235,755 / (images a second).
    train-full) train "$name" full --images 235755 ;;
    train-full-float32) train "$name" full --model.compute-dtype float32 --no-starts ;;
    train-full-4096) train "$name" full --batch-size 4096 --no-starts ;;
    train-demo) train "$name" demo ;;
    potterhsu-[0-9]* | full-[0-9]* | real-[0-9]* | demo-[0-9]* | seed-[0-9]*) compare "$name" "${name%-*}" "${name##*-}" ;;
    *)
      echo "error: $name is no measure; there are: ${all[*]}" >&2
      failed=1
      ;;
  esac
done
exit "$failed"
