# Targets for people and for CI. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# Two workers, one test file at a time each: the tests use free ports and their own databases.
PYTEST_ARGS ?= -n 2 --dist loadfile
CODE := chain_adapter $(wildcard plugins/*/chain_adapter_*)

.PHONY: help setup demo flips drill test lint format bench lock container clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## everything from the lock files into .venv and node_modules; nothing to do when unchanged
	@scripts/setup.sh

demo: setup ## the whole loop on local parts: node, platform, daemon; ends with the comparing table
	@.venv/bin/chain-adapter demo

flips: setup ## a small round once for each assumption about the platform turned round (10 minutes)
	@$(PYTHON) scripts/flips.py

drill: setup ## the database is lost twice while money moves, and brought back; 0 lost, 0 doubled
	@$(PYTHON) scripts/drill.py

test: setup ## the whole test suite (PYTEST_ARGS="tests/store" for a part of it)
	@.venv/bin/pytest $(PYTEST_ARGS)

lint: setup ## style, imports, types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy $(CODE)

format: setup ## writes what `make lint` asks for, as far as a program can
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup ## the benchmark suite: one JSON object a line
	@$(PYTHON) -m benchmarks

lock: ## resolves requirements*.in and package.json anew
	@scripts/lock.sh

container: ## the Dockerfile's steps: with Docker where it runs, else in a chroot (root, Debian)
	@scripts/container.sh

clean: ## what set-up and tests left; the books under state/ stay
	@rm -rf .venv node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
