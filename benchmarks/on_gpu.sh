#!/usr/bin/env bash
# benchmarks/on_gpu.sh [FOLDER]: every figure of docs/performance.md that wants a GPU, in one go; logs in FOLDER, the last
# line of each JSON.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out="${1:-gpu-figures}"
python="${PYTHON:-.venv/bin/python}"
[ -x "$python" ] || python=python3
export PYTHONPATH="$PWD" COLUMNS=160
"$python" -c 'import jax, torch, sys; sys.exit(jax.default_backend() != "gpu" or not torch.cuda.is_available())' 2> /dev/null || {
  echo "error: $python has no GPU for both JAX and PyTorch; pip install -e '.[cuda,pytorch]', or name another with PYTHON=" >&2
  exit 1
}
mkdir -p "$out"
nvidia-smi > "$out/nvidia-smi.txt" 2>&1

failed=0

# One thing after the other: each writes its own log, and a failure does not keep the next from running.
measure() {
  local name="$1"
  shift
  echo "$name: $*"
  if "$@" > "$out/$name.log" 2> "$out/$name.err"; then
    tail -n 1 "$out/$name.log"
  else
    echo "$name FAILED: see $out/$name.err"
    failed=1
  fi
}

measure pytorch "$python" benchmarks/against_pytorch.py --rounds 7
# The full training set's size: 235,755 images; an epoch takes 235,755 / (images a second).
measure full "$python" -m svhn_jax.benchmark --json --config configs/full.py --images 235755
measure full-float32 "$python" -m svhn_jax.benchmark --json --config configs/full.py --model.compute-dtype float32 --no-starts
measure full-batch-4096 "$python" -m svhn_jax.benchmark --json --config configs/full.py --batch-size 4096 --no-starts
measure demo "$python" -m svhn_jax.benchmark --json --config configs/demo.py
exit "$failed"
