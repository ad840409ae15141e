# Every target does its own set-up: it needs make, git and python3 >= 3.11, nothing else.
.DEFAULT_GOAL := help
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),.tools/bin/uv)
RUN := $(UV) run --frozen
PIP := https://bootstrap.pypa.io/pip/pip.pyz
# Whatever the machine says, compiled files are kept: else every process of the tests compiles them all anew.
export PYTHONDONTWRITEBYTECODE :=

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The machine's own uv is used where there is one. Debian's python3 may lack venv, pip or both.
.tools/bin/uv:
	@echo "installing uv into .tools"
	@mkdir -p .tools
	@if python3 -c 'import ensurepip, venv' 2>/dev/null; then \
	  python3 -m venv .tools && .tools/bin/python -m pip install --quiet uv; \
	elif python3 -m pip --version >/dev/null 2>&1; then \
	  python3 -m pip install --quiet --target .tools uv; \
	else \
	  python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' $(PIP) .tools/pip.pyz && \
	  python3 .tools/pip.pyz install --quiet --target .tools uv; \
	fi || { echo "uv could not be installed: see https://docs.astral.sh/uv/, then run make again" >&2; exit 1; }

.venv/.ready: uv.lock pyproject.toml | $(UV)
	@echo "making the environment in .venv from uv.lock"
	@$(UV) sync --frozen --quiet
	@touch $@

setup: .venv/.ready ## the environment, from uv.lock

demo: .venv/.ready ## the main job on a simulated CRM, proven and printed
	$(RUN) dealsync demo

test: .venv/.ready ## every test but the longest, on both databases
	$(RUN) pytest -n 4 --dist worksteal -m "not long"

test-long: .venv/.ready ## the longest tests: whole processes, deployments, backfills and repairs killed everywhere
	$(RUN) pytest -n 2 -m long

chaos: .venv/.ready ## the long fault campaigns: 200 random kills, every fault, a kill at every commit point, 1,000 histories
	DEALSYNC_KILLS=200 DEALSYNC_KILL_STEP=1 DEALSYNC_CAMPAIGN_EVENTS=10000 DEALSYNC_HISTORIES=1000 $(RUN) pytest -n 2 tests/properties/test_history.py tests/faults

MINUTES ?= 5
soak: .venv/.ready ## what compose starts, two of each, as plain processes, under traffic and faults for MINUTES (5), then judged
	DEALSYNC_SOAK_MINUTES=$(MINUTES) $(RUN) pytest -q tests/faults/test_soak.py

check: .venv/.ready ## format, lint, types, import contracts, architecture and deployment tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pytest -q tests/architecture tests/deploy

bench: .venv/.ready ## the README's performance table, peers included
	$(RUN) python -m benchmarks

format: .venv/.ready ## rewrite what the formatter and linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

.PHONY: help setup demo test test-long chaos soak check bench format
