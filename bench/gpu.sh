#!/usr/bin/env bash
# One hour on a GPU, used at once: CUDA tests, compiled-mode parity and the speed table, in under 8 minutes.
# Needs a Python with PyTorch (CUDA), sam2 and this package's requirements; writes to bench/results or $1.
#   bench/gpu.sh [OUT_DIR]         PYTHON=python3 by default
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${1:-bench/results}
mkdir -p "$OUT"
export TQDM_DISABLE=1 PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
card=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name().replace(" ", "-").lower())') || exit 1
failed=0

step() { # step SECONDS NAME COMMAND...: a step that fails or overruns does not stop the others
  local limit=$1 name=$2 begin=$SECONDS; shift 2
  timeout "$limit" "$@"; local code=$?
  [ $code -eq 0 ] || failed=1
  echo "== $name: exit $code after $((SECONDS - begin)) s"
}

# only files with CUDA tests are collected: the others may need extras that a bare machine lacks
step 150 "CUDA tests" "$PYTHON" -m pytest -q -m cuda -p no:cacheprovider $(grep -l 'mark\.cuda' tests/test_*.py) \
  --deselect tests/test_cuda.py::test_compiled_mode_agrees_with_eager
step 120 "speed, large, eager" "$PYTHON" -m sam2long bench speed --device cuda --config configs/sam2.1/sam2.1_hiera_l.yaml \
  --pathways 3 --objects 1,5 --frames 100 --rounds 3 -o "$OUT/speed-$card-large-eager.json"
step 240 "speed, large, compiled" "$PYTHON" -m sam2long bench speed --device cuda --config configs/sam2.1/sam2.1_hiera_l.yaml \
  --pathways 3 --objects 1,5 --frames 100 --rounds 3 --compiled -o "$OUT/speed-$card-large-compiled.json"
step 120 "compiled parity" "$PYTHON" -m pytest -q -p no:cacheprovider \
  tests/test_cuda.py::test_compiled_mode_agrees_with_eager
exit $failed
