# Every task of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# uv from the PATH, or one of our own beside the environment it makes.
UV_VERSION := 0.13.8
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Three at a time, as much of their time is waiting. The tests of one file share its fixtures (a whole platform, for
# some) and stay together.
SPREAD := -n 3 --dist loadfile

.PHONY: help
help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: .venv/.complete ## Make .venv with everything, from uv.lock

.venv/.complete: uv.lock pyproject.toml scorer/pyproject.toml $(if $(findstring .uv,$(UV)),$(UV))
	@echo "setting up .venv from uv.lock"
	@$(UV) sync --locked --compile-bytecode $(if $(CI),--quiet)
	@$(BIN)/python -m compileall -q penstock controlplane gateway scorer/penstock_scorer
	@touch $@

.uv/bin/uv:
	@echo "fetching uv $(UV_VERSION)"
	@python3 -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: demo
demo: setup ## Serve two real models end to end, shift traffic under load, clean up
	@$(BIN)/python examples/diabetes/demo.py

.PHONY: up
up: setup ## Start a platform and leave it running
	@$(BIN)/penstock up --detach

.PHONY: down
down: setup ## Stop the platform that `make up` started
	@$(BIN)/penstock down

.PHONY: test
test: setup ## Run the tests (under 15 minutes on 2 cores)
	@$(PYTEST) -m "not slow" $(SPREAD)

.PHONY: test-slow
test-slow: setup ## Run the long tests: soaks, stress, crash storms, ten minutes of random changes (about 20 minutes)
	@$(PYTEST) -m slow $(SPREAD)

.PHONY: test-fast
test-fast: setup ## Run the tests that need no real component
	@$(PYTEST) -m "not slow and not integration and not e2e" -q

.PHONY: golden
golden: setup ## Rewrite the golden files; read the difference before you commit it
	@$(PYTEST) tests/golden --golden-update -q

.PHONY: lint
lint: setup ## ruff, mypy strict, import-linter, buf
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy penstock controlplane gateway protos/generate.py
	@cd scorer && ../$(BIN)/mypy --config-file ../pyproject.toml penstock_scorer
	@$(BIN)/lint-imports
	@$(BIN)/python protos/lint.py

.PHONY: format
format: setup ## Format the code and the .proto files
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@cd protos && ../$(BIN)/buf format -w

.PHONY: protos
protos: setup ## Generate the committed stubs from protos/
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python protos/generate.py

.PHONY: wheels
wheels: setup ## Build both distributions into dist/
	@rm -rf dist
	@$(UV) build --quiet --wheel --all-packages --out-dir dist
	@ls dist

.PHONY: bench
bench: setup ## Print every benchmark's figures (ratios within one run)
	@$(BIN)/python -m benchmarks

.PHONY: bench-gateway
bench-gateway: setup ## Print what the gateway costs: auth, latency, 10 to 5,000 endpoints
	@$(BIN)/python -m benchmarks gateway

.PHONY: bench-scorer
bench-scorer: setup ## The scorer beside its peers, each installed below .work/peers (about 10 minutes)
	@$(BIN)/python benchmarks/scorer/bench.py
	@$(BIN)/python benchmarks/scorer/open_inference.py

.PHONY: clean
clean: ## Remove what the tasks made
	@rm -rf .venv .uv dist .work .mypy_cache .ruff_cache .pytest_cache .hypothesis
