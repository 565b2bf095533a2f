#!/usr/bin/env bash
# A GPU, used at once: CUDA tests, then the speed tables, eager and captured first and compiled last, in under 8 minutes.
# Needs a Python with PyTorch (CUDA), sam2 and this package's requirements; writes to bench/results or $1 (on a machine
# that is lent for one command: the folder that comes back). Tables are written as figures come in.
#   bench/gpu.sh [OUT_DIR]         PYTHON=python3 by default; REVISION names the revision where .git is not there;
#                                  BUDGET=470 seconds for all steps together: what it leaves no time for is skipped
#                                  ONLY=compiled: steps of that name alone; compiling `large` takes eight minutes: BUDGET=580
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${1:-bench/results}
mkdir -p "$OUT"
export TQDM_DISABLE=1 PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
card=$("$PYTHON" -c 'import pytest, sam2, torch, sam2long.predictor; print(torch.cuda.get_device_name().replace(" ", "-").lower())') || exit 1
failed=0

speed() { "$PYTHON" -W ignore -m sam2long bench speed --device cuda --config configs/sam2.1/sam2.1_hiera_l.yaml --pathways 3 "$@"; }
export -f speed; export PYTHON
step() { # step SECONDS NAME COMMAND...: a step that fails or overruns its share does not stop the others
  local left=$((${BUDGET:-470} - SECONDS)) limit=$1 name=$2 begin=$SECONDS; shift 2
  [[ $name == *"${ONLY:-}"* ]] || return
  if [ $left -lt 10 ]; then failed=1; echo "== $name: skipped, no time left"; return; fi
  [ "$limit" -le $left ] || limit=$left
  timeout -s INT -k 10 "$limit" bash -c '"$@"' _ "$@"; local code=$?
  [ $code -eq 0 ] || failed=1
  echo "== $name: exit $code after $((SECONDS - begin)) s"
}

# only files with CUDA tests are collected: the others may need extras that a bare machine lacks
step 150 "captured is eager" "$PYTHON" -m pytest -v --tb=short --maxfail=5 -m cuda -p no:cacheprovider tests/model/test_cuda_captures.py
step 80 "other CUDA tests" "$PYTHON" -m pytest -q --tb=short --continue-on-collection-errors -m cuda -p no:cacheprovider \
  $(grep -rl 'mark\.cuda' tests --include='test_*.py' | grep -v test_cuda_captures) \
  --deselect tests/tracking/test_cuda.py::test_compiled_mode_agrees_with_eager
# what a frame launches does not depend on the card: bench/README.md has it
step 100 "large, eager and captured, 1 object" speed --frames 60 --rounds 2 --captured --no-launches -o "$OUT/speed-$card-large-1.json"
step 90 "large, eager and captured, 5 objects" speed --frames 40 --objects 5 --rounds 2 --captured --no-launches -o "$OUT/speed-$card-large-5.json"
# the same kernels of libraries for all: SAM 2's `max-autotune` would also try Triton's, which takes minutes to compile
export TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS=ATEN TORCHINDUCTOR_MAX_AUTOTUNE_CONV_BACKENDS=ATEN
step 120 "compiled parity" "$PYTHON" -m pytest -q -p no:cacheprovider \
  tests/tracking/test_cuda.py::test_compiled_mode_agrees_with_eager
step 570 "large, compiled, 1 object" speed --frames 60 --rounds 2 --compiled --regime shared --no-launches -o "$OUT/speed-$card-large-compiled-1.json"
exit $failed
