# One command each; `make help` lists them. PYTHON=python3.12 chooses an interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint wheel-test bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.ready ## set up, then segment 1.47 M real transactions (Complete Journey)
	$(BIN)/cartera segment data=complete_journey features=rfm_units lake=runs/demo/lake out=runs/demo/segment

test: $(VENV)/.ready-dev ## set up, then run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(VENV)/.ready-dev ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel-test: ## build the wheel and use it from an empty folder in an environment of its own
	PYTHON=$(PYTHON) bash .ci/wheel

bench: $(VENV)/.ready-bench ## all benchmarks at their smallest size, rivals included, answers checked (some minutes)
	$(BIN)/python -m benchmarks run features size=S repeats=1 out=runs/bench/features.jsonl
	$(BIN)/python -m benchmarks run kmeans size=S repeats=1 out=runs/bench/kmeans.jsonl

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Cartera needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# uv installs three times as fast as pip; where it cannot be had, pip does the same work.
$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv && \
	  $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[demo]' || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@echo "Checking the installation and compiling the kernels, once ..."
	@$(BIN)/cartera doctor
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[demo,dev,optuna]' || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo,dev,optuna]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-dev
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[bench,demo,dev,optuna]' || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench,demo,dev,optuna]'
	@touch $@
