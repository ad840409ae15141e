# Every target does its own set-up: it needs make, git and python3 >= 3.11, nothing else.
.DEFAULT_GOAL := help
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := $(UV) run --frozen

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet uv

.venv/.ready: uv.lock pyproject.toml | $(UV)
	$(UV) sync --frozen --quiet
	@touch $@

setup: .venv/.ready ## the environment, from uv.lock

demo: .venv/.ready ## the main job on a simulated CRM, proven and printed
	$(RUN) dealsync demo

test: .venv/.ready ## every test, on both databases
	$(RUN) pytest -n 2 --dist worksteal

chaos: .venv/.ready ## the long fault campaigns: a kill at every single commit point
	DEALSYNC_KILL_STEP=1 $(RUN) pytest -n 2 tests/faults

check: .venv/.ready ## format, lint, types, import contracts, architecture tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pytest -q tests/architecture

bench: .venv/.ready ## the README's performance table, peers included
	$(RUN) python -m benchmarks

format: .venv/.ready ## rewrite what the formatter and linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

.PHONY: help setup demo test chaos check bench format
