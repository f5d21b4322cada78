# The commands of this repository: `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
READY := $(VENV)/.ready
DEFS := clickstream_dagster/defs
DAGSTER_HOME := $(CURDIR)/.dagster_home

.PHONY: help setup demo ui test test-heavy test-athena lint bench bench-arrivals bench-collector bench-cost bench-maintain bench-models docs clean

help: ## Show what each command does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(READY) ## Make .venv with everything that the project needs

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name another one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## Run the whole pipeline on this machine with generated traffic
	$(BIN)/clickstream demo

ui: setup ## Open Dagster on the demo at http://localhost:3000
	$(BIN)/clickstream ui

test: setup ## Pass the tests
	$(BIN)/python -m pytest -m 'not heavy' $(PARALLEL)

test-heavy: setup ## Pass the tests that take minutes or need a browser or a JVM
	$(BIN)/python -m pytest -m heavy $(PARALLEL)

test-athena: setup ## Pass the tests of Athena, on a Trino that Maven fetches once (500 MB in ~/.cache)
	$(BIN)/python -m tests.athena.trino_server
	$(BIN)/python -m pytest tests/athena tests/dbt/test_dialect_macros.py

lint: export PYTHONWARNINGS = ignore
lint: setup ## Check style, YAML and definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# One call looks at one file of each component type only: each project needs its own.
	@set -e; for folder in $(DEFS)/*/defs.yaml; do $(BIN)/dg check yaml $${folder%/*}; done
	@mkdir -p $(DAGSTER_HOME) && cp -n dagster.yaml $(DAGSTER_HOME)
	DAGSTER_HOME=$(DAGSTER_HOME) $(BIN)/dagster definitions validate -w workspace.yaml

bench: setup ## Measure processing and traffic generation
	$(BIN)/python -m benchmarks

bench-arrivals: setup ## Measure the arrival sensor before a million raw objects
	$(BIN)/python -m benchmarks.arrivals

bench-collector: setup ## Measure the collector beside nginx (needs nginx and wrk)
	$(BIN)/python -m benchmarks.collector

bench-cost: setup ## Estimate what a month of processing on EMR Serverless costs
	$(BIN)/python -m benchmarks.cost

bench-maintain: setup ## Measure reading a day of small batches before and after compaction
	$(BIN)/python -m benchmarks.maintenance

bench-models: setup ## Measure the models beside the seed's SQL, and an hour behind a long history
	$(BIN)/python -m benchmarks.models

docs: setup ## Build the documentation of the models (dbt docs) from the demo's warehouse
	$(BIN)/clickstream docs

clean: ## Remove what the demo and the builds wrote
	rm -rf data .dagster_home dbt_project/target dbt_project/logs dist
