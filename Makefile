# Everything is done in .venv of this folder, which the first target that needs it makes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit 0; }; done; echo none)
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= auto
ARGS ?=
N ?= 10000
FROM ?= 1

.PHONY: help venv rigs demo test bench real-time soak killed mutants check format format-check lint types imports generated generate accept clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## make .venv with xenrec and its development tools

# pip knows dependency groups (--group) only since 25.1, and Python 3.11 comes with an older one.
$(READY): pyproject.toml
	@if [ "$(PYTHON)" = none ]; then \
		echo "xenrec needs Python 3.11 or newer, and none is in PATH: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) can't make virtual environments: apt-get install python3-venv" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "xenrec needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' \
		> .venv/dev-requirements.txt
	@echo "installing xenrec and its development tools into .venv" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --requirement .venv/dev-requirements.txt
	@touch $@

# In an environment of its own: what the emulators need must not choose what xenrec is tested with.
rigs: $(READY) ## emulated boards for the tests of real fence agents (apt-get install fence-agents ipmitool)
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["rigs"], sep="\n")' \
		> .venv/rigs-requirements.txt
	@[ -x .venv/rigs/bin/python ] || $(BIN)/python -m venv .venv/rigs
	@.venv/rigs/bin/python -m pip install --quiet --disable-pip-version-check --requirement .venv/rigs-requirements.txt

demo: $(READY) ## lose the master of a lab pool and get the pool back
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

test: $(READY) ## run the tests; ARGS='tests/state -k lock' picks some, WORKERS=0 runs them in one process
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

bench: $(READY) ## numbers of this machine, and how they grow; ARGS=--json for programs, ARGS='--only served' for some
	@$(BIN)/python -m tests.bench $(ARGS)

real-time: $(READY) ## lose a master in a lab with XAPI's own times: how long until the pool is managed again
	@$(BIN)/python -m tests.bench.recovery $(ARGS)

soak: $(READY) ## random pools, faults and people on all cores; N=50000 schedules from FROM=1 on
	@HYPOTHESIS_PROFILE=fresh $(BIN)/python -m pytest -q tests/properties tests/core
	@$(BIN)/python -m tests.soak $(FROM) --count $(N)

killed: $(READY) ## kill the applies of each scenario before and after each of their calls, and apply again
	@$(BIN)/python -m tests.killed $(ARGS)

mutants: $(READY) ## take out each line that keeps an invariant, and see a test fail
	@$(BIN)/python -m tests.mutants

check: format-check lint types imports generated test ## all gates, as the CI runs them

format: $(READY) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

format-check: $(READY)
	@$(BIN)/ruff format --check .

lint: $(READY) ## ruff
	@$(BIN)/ruff check .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

imports: $(READY) ## the import rule
	@$(BIN)/python -m pytest tests/test_import_rule.py

generated: $(READY) ## the schemas and the references of the manifest and the commands are fresh
	@$(BIN)/python -m reconciler.manifest.schema --check
	@$(BIN)/python -m reconciler.cli.reference --check

generate: $(READY) ## write the schemas and the references anew
	@$(BIN)/python -m reconciler.manifest.schema
	@$(BIN)/python -m reconciler.cli.reference

accept: generate ## rewrite every expected text; look at the diff before you commit it
	@XENREC_ACCEPT=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)
	@git status --short -- tests schemas docs

clean: ## remove .venv, caches and builds
	@rm -rf .venv .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
