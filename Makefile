# Everything starts here; `make help` lists it. Only Python >= 3.11 with venv, and make, are assumed.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PACKAGES := libs/platform_core libs/platform_server services/registration services/job_intake services/dispatcher \
	services/queue_maintenance services/agent_health services/agent deploy/ops deploy/local
TESTS := $(wildcard libs/*/tests services/*/tests deploy/*/tests k8s/tests docs/tests tests-e2e)
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup up down logs status demo test test-compose check types fmt lock migrate-up migrate-down migrate-status \
	bench bench-short simulate plans

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## the virtual environment, with everything that is pinned
$(STAMP): requirements.lock $(PACKAGES:%=%/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

up: setup ## start the local stack in the background
	@$(BIN)/platform-stack up

down: setup ## stop the local stack
	@$(BIN)/platform-stack down

logs: setup ## the latest lines of every log
	@$(BIN)/platform-stack logs

status: setup ## what runs, and is it ready
	@$(BIN)/platform-stack status

demo: setup ## from nothing: agents register, tenants scan, findings come back
	@$(BIN)/platform-stack demo

test: setup ## every test, from nothing
	$(BIN)/pytest -q

test-compose: setup ## docker-compose.yml for real: needs a Docker engine with compose, and says so
	$(BIN)/python deploy/docker/first_job.py

check: setup ## format, lint, types, import contracts, the gateway's configuration, Dockerfiles
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory types
	$(BIN)/lint-imports
	$(BIN)/python -m platform_stack.gateway deploy/gateway/envoy.yaml
	$(BIN)/hadolint deploy/docker/Dockerfile deploy/docker/local-engines.Dockerfile

types: setup ## the strict type check
	$(BIN)/mypy --exclude '/tests/'
	@for tests in $(TESTS); do echo "mypy $$tests"; $(BIN)/mypy $$tests || exit 1; done

fmt: setup ## format, and mend what a machine can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: setup ## pin requirements.in, and of it what the images need, with hashes
	@for lock in requirements deploy/docker/locks/service deploy/docker/locks/agent deploy/docker/locks/build \
		deploy/docker/locks/engines bench/requirements; do \
		echo "$$lock.lock"; $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --strip-extras --allow-unsafe --no-header -o $$lock.lock $$lock.in || exit 1; done

migrate-up: setup ## apply what is missing to PLATFORM_DATABASE_URL, or to the running stack
	@$(BIN)/platform-stack migrate up

migrate-down: setup ## roll the latest migration back
	@$(BIN)/platform-stack migrate down

migrate-status: setup ## every migration, applied or missing
	@$(BIN)/platform-stack migrate status

bench: setup ## measure everything, beside peers and floors, on a stack of its own (about 50 minutes)
	$(BIN)/python bench/run.py

bench-short: setup ## the same for seconds: it shows that it works, and nothing else
	$(BIN)/python bench/run.py --short

simulate: setup ## the scheduling rule over hours of load, on a virtual clock
	$(BIN)/python bench/simulate.py

plans: setup ## plans of all statements with up to a million jobs, into docs/plans.md (two minutes)
	$(BIN)/python bench/plans.py
