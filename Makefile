# The few commands one types. Each sets up $(VENV) by itself the first time.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: help setup demo demo-attacks demo-meta demo-search test test-machines test-slow lint format bench docs clean

help:
	@echo "make demo    compare weightings on real data and write one page (minutes)"
	@echo "make test    run the test suite"
	@echo "make test-machines  run it with 4 threads, and without AVX-512 and AVX2"
	@echo "make test-slow  run the tests that take minutes each"
	@echo "make lint    ruff and mypy"
	@echo "make format  let ruff format the code"
	@echo "make docs    the documentation as web pages, in site/"
	@echo "make bench   step and solver benchmarks (docs/benchmarks.md)"
	@echo "make clean   remove $(VENV)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, found {v[0]}.{v[1]}. Use: make PYTHON=python3.11")'
	@echo "Setting up $(VENV) with the versions of constraints.txt (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)
	@echo "$(VENV) is ready."

setup: $(READY)

demo: $(READY)
	@echo "Comparing weightings on two overlaid handwritten digits (real data, 2 processes) ..."
	$(BIN)/moml compare --config compare_two_digits --output runs/demo
	@echo "The other jobs at their smoke sizes, two at a time ..."
	$(MAKE) --no-print-directory --jobs 2 --output-sync demo-attacks demo-meta demo-search

demo-attacks: $(READY)
	@echo "One generator that attacks many tasks ..."
	$(BIN)/python scripts/reproduce_mta.py --smoke --jobs 1 --output runs/demo/mta

demo-meta: $(READY)
	@echo "Multi-objective meta-learning ..."
	$(BIN)/python scripts/reproduce_moml.py --smoke --jobs 1 --output runs/demo/moml

demo-search: $(READY)
	@echo "Architecture search: accurate, robust, small ..."
	rm -rf runs/demo/search
	$(BIN)/moml search --space NBDigits --method E2RNAS --steps 30 --budget 6 --epochs 4 --run_dir runs/demo/search

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The suite as other machines run it: several threads, and without the newest instructions.
test-machines: $(READY)
	MOML_TEST_THREADS=4 ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	$(BIN)/python scripts/bench_solvers.py --peers
	$(BIN)/python scripts/bench_step.py --peers

docs: $(READY)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs site

clean:
	rm -rf $(VENV)
