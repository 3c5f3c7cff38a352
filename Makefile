# Everything a developer runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help up test check lint types fmt gen gen-check lock breaking bench clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment from the hashed lock; made anew when the lock changes.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

up: $(STAMP) ## start the whole stack on this machine, with sample data
	@exec $(BIN)/layer up

test: $(STAMP) check ## everything: lint, types, generated code, unit, contract, property, end to end
	$(BIN)/pytest

check: lint types gen-check ## the static checks alone

lint: $(STAMP) ## ruff, buf, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/lint-imports

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

fmt: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format -w proto

gen: $(STAMP) ## generate gen/ from proto/, and the settings table of the README
	$(BIN)/python -m tools.generate
	$(BIN)/python -m tools.settings_table

gen-check: $(STAMP) ## fail when what `make gen` writes is stale
	$(BIN)/python -m tools.generate --check
	$(BIN)/python -m tools.settings_table --check

AGAINST ?= .git\#branch=main
breaking: $(STAMP) ## fail when proto/ breaks the clients of AGAINST (default: the main branch)
	$(BIN)/buf breaking --against '$(AGAINST)'

bench: $(STAMP) ## benchmarks; prints ratios
	$(BIN)/python -m tests.bench

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet
lock: ## resolve pyproject.toml into the hashed locks: everything, and what the image needs of it
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/$(COMPILE) --all-extras -o requirements.lock
	$(BIN)/$(COMPILE) --extra build -c requirements.lock -o deploy/requirements.lock

clean: ## forget the environment and the local data
	rm -rf $(VENV) .layer
