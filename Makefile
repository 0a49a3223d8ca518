# Every verb of the project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
CLUSTER := python3 -m e2e.cluster
# A cluster of your own: make demo CONTEXT=kind-kind REGISTRY=localhost:5001
CONTEXT ?=
REGISTRY ?= $(if $(CONTEXT),$(error REGISTRY=host[:port] is needed with CONTEXT),$(shell $(CLUSTER) registry))
TAG ?= dev
export PATH := $(CURDIR)/bin:$(PATH)

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(VENV)/.synced: pyproject.toml uv.lock
	@test -x $(PY) || python3 -c 'import ensurepip, venv' 2>/dev/null || \
		{ apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; }
	@test -x $(PY) || python3 -m venv $(VENV)
	@test -x $(UV) || $(VENV)/bin/pip install -q uv==0.13.9
	@$(UV) sync -q --frozen --all-extras --inexact
	@touch $@

.PHONY: setup
setup: $(VENV)/.synced ## Install what development needs into .venv

.PHONY: fmt
fmt: setup ## Format
	@$(VENV)/bin/ruff format -q operator tests e2e images && $(VENV)/bin/ruff check -q --fix operator tests e2e images

.PHONY: lint
lint: setup ## Formatting, lint, types, import layers
	@$(VENV)/bin/ruff format -q --check operator tests e2e images
	@$(VENV)/bin/ruff check -q operator tests e2e images
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports --no-cache | tail -n 12

.PHONY: unit
unit: setup ## Tests that need no cluster
	@$(PY) -m pytest -q -m "not apiserver and not cluster and not soak" tests

.PHONY: test
test: setup ## Everything: lint, unit, API server, end to end on a real cluster
	@$(PY) -m e2e.suite

.PHONY: cluster
cluster: ## A real Kubernetes on this machine, from nothing
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: ## Stop the cluster and leave nothing behind
	@$(CLUSTER) down

.PHONY: kubeconfig
kubeconfig: ## Print the path of the cluster's kubeconfig
	@$(CLUSTER) kubeconfig

.PHONY: registry
registry: ## Print the address of the cluster's registry
	@$(CLUSTER) registry

.PHONY: images
images: setup ## Build the images and push them to REGISTRY
	@REGISTRY=$(REGISTRY) TAG=$(TAG) $(PY) images/build.py

.PHONY: demo
demo: setup ## From nothing to three optimized models that answer
	@CONTEXT=$(CONTEXT) $(PY) -m e2e.demo $(if $(CONTEXT),--context $(CONTEXT) --registry $(REGISTRY))

.PHONY: crds
crds: setup ## Generate CRDs, the chart's copies, the reference pages, the images' requirements
	@$(PY) -m modelwright.api.schema crds
	@$(PY) charts/generate.py
	@$(PY) docs/reference/generate.py
	@for image in operator optimizer; do $(UV) export --quiet --frozen --no-dev --no-default-groups --no-emit-project \
		--no-header --extra $$image --extra agent --format requirements-txt -o images/$$image/requirements.txt; done

.PHONY: bench-operator
bench-operator: setup ## Decisions a second, memory, idle load, apply to Ready
	@$(PY) -m e2e.bench_operator

.PHONY: soak
soak: setup ## The long sweeps: kills, crash points
	@$(PY) -m e2e.suite --soak
