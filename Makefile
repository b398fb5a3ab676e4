# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3
# There while systemd is process 1.
SYSTEMD ?= /run/systemd/system
# How often `make drills` kills something at a random moment.
KILLS ?= 300
# What `make notebooks` reads.
LAKE ?= data/lake

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix worker scheduler gateway bench bench-session bench-derive bench-derive-beside bench-surface bench-years bench-rivals drills fuzz drill-day drill-stalls drill-weeks drill-causes drill-load notebooks clean up daemon

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=…"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: setup ## run the whole main job on the simulated gateway and show the rows
	$(BIN)/v6 demo

test: setup ## run every test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: setup ## lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fix: setup ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

worker: setup ## run the worker in the foreground
	$(BIN)/v6 worker

scheduler: setup ## run the scheduler in the foreground
	$(BIN)/v6 scheduler

up: setup ## run scheduler and worker as one process tree (ARGS=--simulated: the gateway too)
	$(BIN)/v6 up $(ARGS)

daemon: setup ## run the worker as a service of this user, by systemd
	@test -d $(SYSTEMD) || { echo "systemd does not run here: start the worker in the foreground with \`make worker\`"; exit 1; }
	systemd-run --user --collect --unit=v6-worker --working-directory=$(CURDIR) --property=Restart=on-failure --property=RestartSec=5 --property=TimeoutStopSec=60 $(abspath $(BIN))/v6 worker

gateway: setup ## run the simulated gateway in the foreground
	$(BIN)/v6 gateway

drills: setup ## kill workers and producers at every commit and at random moments (KILLS=300); about 40 minutes
	$(BIN)/python -m tests.drills.drill --kills $(KILLS)

fuzz: setup ## random interleavings on real tables against a small model: 500 runs of 50 steps; about 20 minutes
	FUZZ_RUNS=500 FUZZ_STEPS=50 $(BIN)/python -m pytest -q tests/integration/test_queue_model.py

drill-weeks: setup ## live three weeks at speed, the scheduler killed 40 times; about 15 minutes
	$(BIN)/python -m bench.drill_weeks

drill-day: setup ## live a trading day at 20 times the speed with its resets, outages and late greeks; about 50 minutes
	$(BIN)/python -m tests.drills.day

drill-stalls: setup ## stop gateway and worker 300 times in the middle of chains: no message too many; about 8 minutes
	$(BIN)/python -m bench.drill_stalls

drill-causes: setup ## make everything happen that stops collecting, and see it named and told; about 10 minutes
	$(BIN)/python -m bench.drill_causes

drill-load: setup ## load a year of 5-minute bars of 20 symbols, killed half way and run again; about 5 minutes
	$(BIN)/python -m bench.drill_load

bench: setup ## measure queue, tables, partitions and demo; docs/benchmarks.md has the figures
	$(BIN)/python bench/bench_queue.py
	$(BIN)/python bench/bench_append.py
	$(BIN)/python bench/bench_flush.py
	$(BIN)/python bench/bench_table_object.py
	$(BIN)/python bench/bench_partitions.py
	$(BIN)/python bench/bench_demo.py

bench-rivals: setup ## measure this queue beside a row a request, changed by MERGE and by UPDATE; about 2 minutes
	$(BIN)/python bench/bench_rivals.py --seconds 30

bench-years: setup ## measure the queue over 20,000 batches and with 1 and 10 million finished requests; about 40 minutes
	$(BIN)/python bench/bench_years.py

bench-derive: setup ## measure statistics and reads over a quarter of option rows, beside DuckDB; about 10 minutes, 3 GB
	$(BIN)/python -m bench.bench_derive

bench-surface: setup ## measure how near statistics come to surfaces of any spot, volatility and skew; about 2 minutes
	$(BIN)/python -m bench.bench_surface

bench-derive-beside: setup ## measure collection with and without statistics being derived beside it; about 10 minutes
	$(BIN)/python -m bench.bench_derive_beside

bench-session: setup ## measure whole collection cycles against the gateway's limits; about 20 minutes
	$(BIN)/python -m bench.bench_session

notebooks: setup ## execute the notebooks on data/lake, their outputs into build/notebooks (LAKE=… for another lake)
	V6_LAKE=$(abspath $(LAKE)) $(BIN)/python scripts/run_notebooks.py

clean: ## remove the virtual environment and caches; the lake stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
