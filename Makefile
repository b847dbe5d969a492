# Every target of rushhour that needs .venv installs it first; `make` alone lists the targets.
# `value` keeps make from expanding what a caller sets; recipes read it from the environment.
PYTHON ?= python3
override export PYTHON  := $(value PYTHON)
override export RELEASE := $(value RELEASE)
override export ARGS    := $(value ARGS)
override VENV   := .venv
override BIN    := $(VENV)/bin
override STAMP  := $(VENV)/.installed
# Runs a command with the words of ARGS appended.
override WITH_ARGS := $(BIN)/python -IS infra/with_args.py
override RUN    := $(WITH_ARGS) $(BIN)/rushhour
override FOR_RELEASE := $${RELEASE:+--release="$$RELEASE"}
override PYTEST := $(BIN)/python -m pytest --ignore tests/docker --ignore tests/field --ignore tests/matrix --ignore tests/wheel
# Most tests wait more than they compute, so more of them run at once than there are cores. Those that judge a run
# under load run one at a time.
override SPREAD := --dist loadfile --no-loadscope-reorder
override TOGETHER := $(PYTEST) -n 5 $(SPREAD) -m 'not alone and not long'
# Only their files: pytest would import all others for nothing.
override ALONE := $(PYTEST) $$(grep -rl --include='test_*.py' 'mark\.alone' tests) -m 'alone and not long'
override LONG_TOGETHER := $(PYTEST) tests/unit tests/integration -n 4 $(SPREAD) -m 'long and not alone'
override LONG_ALONE := $(PYTEST) tests/unit tests/integration -m 'long and alone'
override SHELL := /bin/sh
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Many containers set it; then each of the many processes that a target starts would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
override export PATH := $(value PATH):$(CURDIR)/.cache/alert-tools/bin

.DEFAULT_GOAL := help
.PHONY: help loadtest gate check drill nightly ui test test-long coverage test-docker test-matrix test-wheel test-faults field mariadb images images-offline lint format bench up down clean lock venv alert-tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

loadtest: $(STAMP) ## replay the incident: staging, the release that leaks, the one before, the hotfix; compare them
	@$(RUN) run loadtest

gate: $(STAMP) ## judge a release candidate under production numbers (RELEASE=1.1.1)
	@$(RUN) run gate $(FOR_RELEASE)

check: $(STAMP) ## send one request to each endpoint, and check that every connection comes back (RELEASE=1.1.1)
	@$(RUN) check $(FOR_RELEASE)

drill: $(STAMP) ## roll a hotfix out under load, on a Docker Swarm made for it (ARGS="--stack embedded": without Docker)
	@$(RUN) drill hotfix

nightly: $(STAMP) ## run the nightly pre-release job: gate, tripwire, control, soak, replica fault (RELEASE=1.1.1)
	@$(RUN) nightly $(FOR_RELEASE)

ui: $(STAMP) ## serve Locust's web UI over a running stack (ARGS="smoke-leak --port 8090")
	@$(RUN) ui

test: $(STAMP) ## run the unit and integration tests (ARGS="-k name" for a part)
	@if [ -n "$$ARGS" ]; then exec $(WITH_ARGS) $(PYTEST); else $(TOGETHER) && $(ALONE); fi

coverage: $(STAMP) ## run the same tests with branch coverage of every process, which takes twice as long
	@$(BIN)/coverage erase
	@$(TOGETHER) --cov --cov-report= && $(ALONE) --cov --cov-append --cov-report= \
	  && $(LONG_TOGETHER) --cov --cov-append --cov-report= && $(LONG_ALONE) --cov --cov-append --cov-report=term

test-long: $(STAMP) ## the tests that take long: searches of capacity, nightly, drill, zoo, real Alertmanager, rarer variants
	@$(LONG_TOGETHER) && $(LONG_ALONE)

test-docker: $(STAMP) ## run the tests that need a container engine; as root on Debian, install one for them
	@bash infra/images/engine.sh run sh -c 'bash infra/images/offline.sh && $(WITH_ARGS) $(BIN)/python -m pytest tests/docker' \
	  || { code=$$?; test $$code = 77 && echo "test-docker: skipped, see above" || exit $$code; }

test-matrix: $(STAMP) ## test the agent in services with other versions, drivers and servers
	@$(WITH_ARGS) $(BIN)/python -m pytest tests/matrix -n 2 --dist load

test-wheel: $(STAMP) ## build the wheel, install it in a clean environment, and use it outside of the checkout
	@$(WITH_ARGS) $(BIN)/python -m pytest tests/wheel

test-faults: $(STAMP) ## kill processes and damage runs and files at random (ARGS="--seed 2 --kills 200 --runs 2000 --files 10000")
	@case "$$ARGS" in \
	  *compose*) bash infra/images/engine.sh run sh -c 'bash infra/images/offline.sh && $(WITH_ARGS) $(BIN)/python -m tests.faults' \
	    || { code=$$?; test $$code = 77 && echo "test-faults: skipped, see above" || exit $$code; } ;; \
	  *) $(WITH_ARGS) $(BIN)/python -m tests.faults ;; \
	esac

field: $(STAMP) ## diagnose services of many classes under load (ARGS="stream --only broken")
	@$(WITH_ARGS) $(BIN)/python -m tests.field

mariadb: ## unpack mariadbd from Debian's packages, for the MySQL drivers of test-matrix; install no service
	@bash infra/mariadb/unpack.sh .cache/mariadb

images: $(STAMP) ## pull the base images of the Compose stack; build stand-ins where that fails
	@bash infra/images/offline.sh

images-offline: $(STAMP) ## build stand-ins for the base images from Debian's packages, without a registry
	@bash infra/images/offline.sh --stand-ins

alert-tools: ## unpack promtool, Prometheus and Alertmanager from Debian's packages; install no service
	@bash infra/alerts/tools.sh .cache/alert-tools

lint: $(STAMP) ## check format, lint rules, types and import contracts
	@$(BIN)/ruff format --no-cache --check .
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## format the code, and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure every claim about speed, as ratios
	@$(WITH_ARGS) $(BIN)/python -m benchmarks

up: $(STAMP) ## start primary, replica and service, until Ctrl-C or `make down`
	@$(RUN) up

down: $(STAMP) ## stop what `make up` started
	@$(RUN) down

clean: ## remove .venv, caches, runs and kept database templates
	@if [ -x $(BIN)/rushhour ]; then $(BIN)/rushhour down --templates; fi
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov build runs

lock: $(STAMP) ## write requirements.lock from pyproject.toml
	$(WITH_ARGS) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra run --group dev pyproject.toml \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock

venv: $(STAMP)

# The stamp is written last, so an interrupted install is never taken for a complete install.
$(STAMP): requirements.lock pyproject.toml
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rushhour needs Python 3.11 or newer; $$PYTHON is $$("$$PYTHON" --version 2>&1). Set PYTHON=python3.12, say."; exit 64; }
	@echo "Setting up $(VENV) (once; about half a minute)"
	@rm -f $(STAMP)
	@"$$PYTHON" -m venv --clear $(VENV) || { \
	  echo "python3 -m venv failed: on Debian and Ubuntu, install the package python3-venv."; exit 64; }
	@# The lock lists every package, so pip must not resolve: some of its releases would look for newer versions.
	@# Most of the installed modules are never imported, so Python compiles those that are.
	@# pip works on one core, so two of them install half of the packages each.
	@awk '/^[^ ]/ { half = 1 - half } { print > ("$(VENV)/requirements." half) }' requirements.lock
	@printf '%s\n' $(VENV)/requirements.0 $(VENV)/requirements.1 | xargs -n 1 -P 2 $(BIN)/python -m pip install \
	  -qq --root-user-action=ignore --no-deps --no-compile --require-hashes -r
	@$(BIN)/python -m pip install -qq --root-user-action=ignore --no-deps --no-index --no-build-isolation --editable .
	@touch $(STAMP)
