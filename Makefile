.DEFAULT_GOAL := help
.PHONY: help setup train test lint check schema clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/pip install)

help:  ## show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(BIN)/activate:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/activate
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) -e ".[test]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(INSTALL) -e ".[dev]"
	@touch $@

setup: $(VENV)/.installed  ## make .venv and install what training needs

train: $(VENV)/.installed  ## train config.json to the end
	$(BIN)/python train.py -c config.json

test: $(VENV)/.installed-test  ## run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: test lint  ## what CI does

schema: $(VENV)/.installed  ## write config.schema.json, by which editors complete and mark configs
	$(BIN)/python parse_config.py --schema > config.schema.json

clean:  ## remove caches; runs and data stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path "*/.venv*" -prune -exec rm -rf {} +

# espalier only
.PHONY: slow gpu fault soak types shape licences sbom docs bench-setup bench bench-scaling

slow: $(VENV)/.installed-test  ## run the tests that take minutes
	$(BIN)/python -m pytest -m "slow or hypothesis"

gpu: $(VENV)/.installed-test  ## run the tests that need a GPU, and some that need two
	$(BIN)/python -m pytest -m gpu -n 0

fault: $(VENV)/.installed-test  ## kill 100 trainings at random moments, and let every file operation fail
	$(BIN)/python -m pytest -m fault -n 0 -s

soak: $(VENV)/.installed-test  ## the same with 1,000 trainings: hours
	FAULT_RUNS=1000 $(BIN)/python -m pytest -m fault -n 0 -s

check: types

types: $(VENV)/.installed-dev  ## check types of the framework rooms
	$(BIN)/mypy

shape: $(VENV)/.installed  ## measure how the code is built, beside the goals
	$(BIN)/python tests/shape.py

$(VENV)/.installed-audit: $(VENV)/.installed
	$(INSTALL) -e ".[audit]"
	@touch $@

licences: $(VENV)/.installed-audit  ## list the licences of what is installed; fail on one that binds code that uses it
	$(BIN)/pip-licenses --from=mixed --partial-match --fail-on "GPL;General Public;Affero"

sbom: $(VENV)/.installed-audit  ## write build/sbom.json, all packages that are installed, as CycloneDX
	mkdir -p build
	$(BIN)/cyclonedx-py environment $(BIN)/python -o build/sbom.json

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) -e ".[docs]"
	@touch $@

docs: $(VENV)/.installed-docs  ## build the pages as a site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

BENCH := benchmarks/.venv

bench-setup:  ## put the peers of the benchmarks into environments of their own: 14 GB
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install -e . -r benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)-lightning
	$(BENCH)-lightning/bin/pip install torch torchvision tensorboard lightning

bench:  ## measure speed beside the peers, as in DATA_DIR=folder_of_MNIST, and write docs/benchmarks.md: 40 minutes
	$(BENCH)/bin/python -m benchmarks.speed $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(BENCH_ARGS)

bench-scaling: $(VENV)/.installed  ## measure training on two processes beside one and beside PyTorch's DDP, and write docs/benchmarks-scaling.md: 5 minutes
	$(BIN)/python -m benchmarks.scaling $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(BENCH_ARGS)
# /espalier only
