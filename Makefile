# Polyphony. `make demo` starts it and sends one request, `make test` runs all tests; both install what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
unexport PYTHONDONTWRITEBYTECODE # without bytecode each process of a fleet compiles all that it imports, for seconds
INSTALLED := $(VENV)/.installed

# The images of `make images`: their services, platform and tag.
SERVICES := gateway vision speech generation retrieval tools
GPU_SERVICES := vision speech retrieval
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git describe --always --dirty --abbrev=12)
SOURCE ?= $(shell git remote get-url origin 2>/dev/null | sed 's,//[^/@]*@,//,')
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(if $(shell $(engine) info >/dev/null 2>&1 && echo yes),$(engine))))
REGISTRY ?= localhost
# cpu, or gpu: the services that run their own networks on CUDA
TARGET ?= cpu
TAG ?= $(VERSION)-$(REVISION)$(if $(filter gpu,$(TARGET)),-gpu)
# such as linux/arm64; a Python image on Debian slim instead of the Dockerfile's; further options of the engine
PLATFORM ?=
BASE ?=
BUILD_FLAGS ?=

.PHONY: help setup demo up down test test-isa browser-test check fmt protos lock bench drill tag images push sbom charts cluster-test operations-test

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: $(INSTALLED) ## install everything into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is needed: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is needed: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { echo "GNU OpenMP is needed, by llama.cpp: apt-get install libgomp1"; exit 1; }
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.8; }
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

LOCK := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
# The packages of the lock that are not in locks/chassis.txt.
MORE = $(LOCK) --constraint requirements.lock $$(sed -n 's/^\([^ ]*\)==.*/--no-emit-package \1/p' locks/chassis.txt)

lock: ## resolve requirements.lock for Python 3.11 to 3.13, and its parts in locks/, one for each image
	$(LOCK) $(addprefix --extra ,$(SERVICES) fleet capacity) --group dev --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --output-file locks/chassis.txt
	for service in $(SERVICES); do $(MORE) --extra $$service --output-file locks/$$service.txt || exit; done
	for service in vision retrieval; do \
	    sed -n 's/^onnxruntime==\([^ ]*\).*/onnxruntime-gpu[cuda,cudnn]==\1/p' requirements.lock | \
	    $(MORE) --extra $$service --excludes <(echo onnxruntime) - --output-file locks/$$service-gpu.txt || exit; done
	echo nvidia-cublas-cu12 | $(MORE) --extra speech - --output-file locks/speech-gpu.txt
	for lock in locks/*.txt; do for machine in x86_64 aarch64; do \
	    $(UV) pip install --dry-run --quiet --no-deps --only-binary :all: --python-platform $$machine-manylinux_2_36 \
	    --target build/wheels --requirement $$lock || exit; done; done

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

down: setup ## stop the fleet
	@$(BIN)/polyphony down

test: setup ## unit, integration and end-to-end tests
	@$(BIN)/polyphony models pull
	$(BIN)/pytest --numprocesses=logical --maxprocesses=4

test-isa: setup ## end-to-end tests with each instruction set of CTranslate2 that this CPU has; before a release
	@$(BIN)/polyphony models pull
	for isa in GENERIC AVX2 $$(grep --max-count=1 --only-matching avx512f /proc/cpuinfo | sed s/.*/AVX512/); do \
	    echo "CT2_FORCE_CPU_ISA=$$isa" && CT2_FORCE_CPU_ISA=$$isa $(BIN)/pytest tests/e2e || exit; done

browser-test: setup ## what web pages can do to a gateway without keys, tried in chromium; skipped without one
	$(BIN)/pytest tests/browser

check: build/googleapis ## static checks: format, types, imports, contract, generated files; writes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	@$(BIN)/buf build --output build/contract.binpb --exclude-source-info
	$(BIN)/buf breaking build/contract.binpb --against protos/release.binpb
	$(BIN)/python -m dashboards --check
	$(BIN)/python -m gateway.app | $(BIN)/openapi-spec-validator -
	@rm -rf build/gen && $(BIN)/python protos/generate.py build/gen && diff --recursive --brief --exclude=__pycache__ build/gen/polyphony protos/gen/polyphony \
	    || { echo "protos/gen is stale: run make protos"; exit 1; }

fmt: setup ## format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write protos

bench: setup ## run the benchmarks; results in bench.json
	@$(BIN)/polyphony models pull
	@$(BIN)/python -m benchmarks

drill: setup ## inject faults into a fleet of fakes: kills, hangs, a full disk, slow clients; a table of what held
	@$(BIN)/python -m drill

tag: ## print the tag of `make images`
	@echo $(TAG)

images: ## build one image per service with docker, podman or buildah; see REGISTRY, TAG, TARGET, PLATFORM, BASE at the top
	@test -n "$(ENGINE)" || { echo "docker, podman or buildah is needed: apt-get install podman"; exit 1; }
	for service in $(if $(filter gpu,$(TARGET)),$(GPU_SERVICES),$(SERVICES)); do \
	    BUILDAH_LAYERS=true $(ENGINE) build --target $(TARGET) --tag $(REGISTRY)/polyphony-$$service:$(TAG) \
	    --build-arg SERVICE=$$service --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	    --build-arg SOURCE=$(SOURCE) $(if $(BASE),--build-arg BASE=$(BASE)) $(if $(PLATFORM),--platform $(PLATFORM)) \
	    $(BUILD_FLAGS) . || exit; done

push: ## push the images of `make images` to REGISTRY
	for service in $(if $(filter gpu,$(TARGET)),$(GPU_SERVICES),$(SERVICES)); do \
	    $(ENGINE) push $(REGISTRY)/polyphony-$$service:$(TAG) || exit; done

sbom: setup ## write the packages and licences of each image as CycloneDX to build/sbom
	@for service in $(SERVICES); do \
	    $(UV) venv --quiet --clear --no-project --python $(BIN)/python build/sbom/$$service && \
	    $(UV) pip sync --quiet --python build/sbom/$$service --require-hashes locks/chassis.txt locks/$$service.txt && \
	    $(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml \
	    --mc-type application --output-reproducible --output-file build/sbom/polyphony-$$service.cdx.json \
	    build/sbom/$$service/bin/python || exit; done

charts: setup ## render the charts for every values file into build/charts, and check them with Helm's linter and checkov
	@$(BIN)/python charts/render.py build/charts 2> >(grep --invert-match 'found symbolic link' >&2)
	@$(UV) tool run --quiet --from checkov==3.3.0 checkov --config-file charts/checkov.yaml --directory build/charts

cluster-test: ## install, test and upgrade the charts on a kind cluster; skipped if kind is not installed
	@missing=$$(for tool in kind helm kubectl; do command -v $$tool >/dev/null || echo $$tool; done | xargs); \
	if test -n "$$missing"; then echo "skipped: not installed: $$missing"; else \
	$(MAKE) images && charts/cluster-test.sh $(ENGINE) $(REGISTRY) $(TAG); fi

operations-test: setup ## test dashboards and alerts on a real fleet under load and with injected faults
	$(BIN)/pytest tests/operations --capture=no
