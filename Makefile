# `make demo` runs the pipeline on the embedded default; `make test` runs every test.
# Both need Python 3.11 or newer and nothing else: the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# The pins are complete, so nothing needs resolving; a module is compiled when it is first imported, most never are.
PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile

# Four workers share two cores, since tests wait a lot; each has servers of its own. Neighbouring tests share them, so a
# worker takes a quarter of the list, and a worker that has nothing left takes some of another's.
WORKERS ?= 4
PYTEST := $(RUN) -m pytest -n $(WORKERS) --dist worksteal

# What the shell sets for other projects has no say here.
unexport $(filter-out PYTHON,$(filter PYTHON% PG%,$(.VARIABLES))) PIP_USER PIP_TARGET PIP_PREFIX

.DEFAULT_GOAL := help
.PHONY: help demo up test test-fast test-server check format bench soak clean

help:  ## Show what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP)  ## Run department_sync on the embedded default and show what happens
	@$(RUN) -m sandbox.demo

up: $(STAMP)  ## Start a whole production on this machine, Prefect's UI included, to look at and to try
	@$(RUN) -m sandbox.up

test: $(STAMP)  ## Run every test (ARGS="-k fetch" for some)
	@$(PYTEST) --ignore tests/server $(ARGS)

test-fast: $(STAMP)  ## Run the tests that need no Prefect server, kill nothing and take little memory, on PostgreSQL 18
	@$(PYTEST) -m "not slow" $(ARGS)

test-server: $(STAMP)  ## Walk deployments, events and reruns on a real server with two workers
	@$(RUN) -m pytest tests/server $(ARGS)

check: $(STAMP)  ## Lint, formatting, types and pins
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m pip check

format: $(STAMP)  ## Repair what ruff can repair
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

bench: $(STAMP) $(BENCH)/.installed  ## Time extract, load and the whole beside their references (ARGS="--members 10000")
	@$(RUN) -m benchmarks $(ARGS)

$(BENCH)/.installed: benchmarks/requirements.txt
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

MINUTES ?= 5
soak: $(STAMP)  ## Randomised tests, of the load alone and end to end, for MINUTES=n each
	@$(RUN) -m tests.soak_load --minutes $(MINUTES)
	@$(RUN) -m tests.soak --minutes $(MINUTES)

clean:  ## Remove the virtual environment and all caches
	rm -rf $(VENV) $(BENCH) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, found %s. Name one: make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Installing into $(VENV), a minute or two ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -r requirements-dev.txt
	@$(PIP_INSTALL) --editable .
	@touch $@
