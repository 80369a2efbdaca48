# Polyphony. `make demo` shows it working, `make test` proves it; both install what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo up down test check fmt protos lock bench

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(INSTALLED) ## install everything into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is needed: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is needed: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { echo "GNU OpenMP is needed, by llama.cpp: apt-get install libgomp1"; exit 1; }
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.8; }
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## resolve requirements.lock anew, for Python 3.11 to 3.13
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --no-header --quiet --output-file requirements.lock

build/googleapis: $(INSTALLED)
	@mkdir -p $@/google/api
	@cp $$($(BIN)/python -c 'import google.api as g; print(*g.__path__)')/field_behavior.proto $@/google/api/

protos: build/googleapis ## generate protos/gen from the contract
	@$(BIN)/python protos/generate.py protos/gen

demo: setup ## one request of an image, a spoken question and a document, answered by four services
	@$(BIN)/polyphony models pull
	@$(BIN)/polyphony up
	@$(BIN)/python examples/demo.py

up: setup ## start the fleet in the background
	@$(BIN)/polyphony models pull
	@$(BIN)/polyphony up

down: setup ## stop it
	@$(BIN)/polyphony down

test: setup ## unit, integration and end-to-end tests
	@$(BIN)/polyphony models pull
	$(BIN)/pytest

check: build/googleapis ## everything that can be said without running it; writes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	@$(BIN)/buf build --output build/contract.binpb --exclude-source-info
	$(BIN)/buf breaking build/contract.binpb --against protos/release.binpb
	@rm -rf build/gen && $(BIN)/python protos/generate.py build/gen && diff --recursive --brief build/gen/polyphony protos/gen/polyphony \
	    || { echo "protos/gen is stale: run make protos"; exit 1; }

fmt: setup ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write protos

bench: setup ## medians and ratios of one run, on screen and in bench.json
	@$(BIN)/polyphony models pull
	@$(BIN)/python -m benchmarks
