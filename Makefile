# `make demo` tracks an object through the embedded clip; `make test` runs the checks. Both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests' models are tiny: two processes of one thread each take a third of the time of one with two threads.
WORKERS ?= 2
# Where pip finds PyTorch. Without a GPU, CPU builds are much smaller:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: venv demo docs notebooks test test-all lint clean

venv: $(VENV)/.done

# Torch first, then sam2 without build isolation: its build needs torch, and isolation would download a second one.
$(VENV)/.done: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q 'setuptools>=77' wheel
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch torchvision
	SAM2_BUILD_CUDA=0 $(BIN)/pip install -q --no-build-isolation sam2
	$(BIN)/pip install -q --no-build-isolation -e '.[dev]'
	touch $@

demo: venv
	$(BIN)/sam2long demo -o outputs/demo

docs: venv
	$(BIN)/python -m mkdocs build --strict

# Runs them and stores what they show.
notebooks: venv
	OMP_NUM_THREADS=1 $(BIN)/python tools/run_notebooks.py

test: venv lint
	$(PYTEST) -m "not slow"

# Slow tests too, and 200 random sequences of API calls instead of a few.
test-all: venv lint
	SAM2LONG_NUM_SEQUENCES=200 SAM2LONG_SEED=12 $(PYTEST)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf outputs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
