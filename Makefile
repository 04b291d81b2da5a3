.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Where 'make run' keeps what Prefect records, for 'make ui' to show.
RUN_HOME ?= $(CURDIR)/.prefect-run
run_prefect = mkdir -p "$(RUN_HOME)" && env -u PREFECT_API_URL PREFECT_HOME="$(RUN_HOME)" \
	PREFECT_PROFILE=ephemeral PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=ERROR \
	PREFECT_SERVER_LOGGING_LEVEL=ERROR \
	PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 $(BIN)/python

# Neither Prefect's server nor its client phones home from our runs.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

# Python keeps what it has compiled, also where the environment forbids it: Prefect's server takes
# 12 s to import without that and 6 s with it, and many tests start one.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: $(READY) ## Make the environment .venv that all targets use

$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | \
		$(BIN)/python -m pip --disable-pip-version-check install -q --require-hashes -r /dev/stdin

.PHONY: lock
lock: | $(BIN)/uv ## Pin the newest release of every dependency, with its hashes, in requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --upgrade --universal --generate-hashes --no-header -q -o requirements.lock

.PHONY: generate
generate: $(READY) ## Compile openapi.yaml into generated_client/ruddr_client
	@scripts/generate generated_client/ruddr_client

.PHONY: run
run: $(READY) ## Recalibrate the stages of a local sandbox from a history of deals, and show why
	@$(run_prefect) examples/quickstart.py

.PHONY: undo
undo: $(READY) ## Undo the last 'make run'
	@$(run_prefect) examples/quickstart.py undo

.PHONY: ui
ui: $(READY) ## Open Prefect's UI on the last 'make run'
	@$(run_prefect) examples/show_ui.py

# Each process that tests has a Prefect server of its own, which takes as much again. With three, two
# cores are hardly ever idle; with two or four, the tests take a fifth longer.
PARALLEL := -n 3 --dist loadfile

.PHONY: test
test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -q $(PARALLEL)

# The rooms that know nothing of Prefect's runs. The others, and processes, take longer to begin.
FAST := $(addprefix tests/,api pacing sandbox sources stages \
	$(patsubst %,test_%.py,contract contract_limits credentials errors house texts))

.PHONY: test-fast
test-fast: $(READY) ## Run the quick tests that need no Prefect server, for the inner loop
	@HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -q -n 2 --dist loadfile $(FAST) \
		-m "not long and not prefect and not slow"

.PHONY: test-all
test-all: $(READY) ## Run the tests and the long suite: kills, long fuzzing, every way to start
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q $(PARALLEL) -m "long or not long"

.PHONY: test-wheel
test-wheel: $(READY) ## Install the wheel as anybody does, without the lock, and use it
	@$(BIN)/python -m pytest -q -m wheel

.PHONY: test-pythons
test-pythons: $(READY) ## Run the tests on every Python from 3.11 on that is found here
	@scripts/test-pythons $(PARALLEL)

.PHONY: check
check: $(READY) ## Check the contract, the generated client, lint, formatting and types
	@scripts/lint-contract
	@scripts/check-generated
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy generated_client/ruddr_client prefect_flows/prefect_ruddr tests examples benchmarks \
		scripts/docs_site.py

.PHONY: format
format: $(READY) ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

.PHONY: deploy
deploy: $(READY) ## Register the block type and the deployments with the Prefect API in use
	@$(BIN)/prefect block register -m prefect_ruddr
	@$(BIN)/prefect work-pool inspect ruddr >/dev/null 2>&1 || { \
		$(BIN)/prefect work-pool create ruddr --type process; \
		$(BIN)/prefect work-pool set-concurrency-limit ruddr 1; }
	@$(BIN)/prefect --no-prompt deploy --all
	@echo 'Next, if not done yet (docs/deployment.md):'
	@echo '  save the key      read -rs RUDDR_API_KEY && export RUDDR_API_KEY'
	@echo "                    $(BIN)/python -c 'from prefect_ruddr import RuddrCredentials as R; R.from_env().save(\"default\")'"
	@echo '  start a worker    $(BIN)/prefect worker start --pool ruddr'

.PHONY: docs
docs: $(READY) ## Build the site of the docs, with the reference, in site/
	@$(BIN)/mkdocs build --strict

.PHONY: bench
bench: $(READY) ## Run the benchmarks (some 18 minutes)
	@$(BIN)/python -m benchmarks

.PHONY: clean
clean: ## Remove the environment and all caches
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build site .prefect-run
