# Every target does its own set-up: Python 3.11 or newer and make are all it needs.
# Paths are relative, because make cannot hold a blank in a name.

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What a caller's shell may hold for another project.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONSTARTUP
unexport PYTHONDONTWRITEBYTECODE
unexport UV_PROJECT_ENVIRONMENT

# -P: the folder sigma/ must not stand before pySigma's package of the same name.
PYTHON := .venv/bin/python -P
OLDEST := .tools/py311/bin/python -P
# Three processes for two cores, as many tests wait; a file in one of them, for its fixtures. The
# order is that of tests/conftest.py.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
PROJECT := pyproject.toml uv.lock hatch_build.py .python-version

# A checkout that was moved or copied, or lost its Python, is set up again.
set_up_here = $(shell test "$$(cat $(1)/$(2) 2>/dev/null)" = "$$(pwd)" \
	&& $(1)/bin/python -I -c '' 2>/dev/null || echo FORCE)

# The demonstration needs no development tool and nothing of npm, but takes an environment with more.
DEMO := $(if $(wildcard .venv/.ready),.venv/.ready,.venv/.demo)
# Of npm, all but the tests and checks need Microsoft's KQL parser alone.
PARSER := $(if $(wildcard node_modules/.ready),node_modules/.ready,node_modules/.parser)

.PHONY: help demo install test test-fast test-oldest proof check content content-check scan format bench simulate wheel package clean FORCE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## Hunt a Storm-0558-like intrusion in a made-up tenant
	@$(PYTHON) -m mailvigil demo

install: $(DEMO) $(PARSER) ## Install all commands of mailvigil into .venv, no development tools
	@.ci/uv sync --frozen --no-default-groups --all-extras --inexact

test: .venv/.ready node_modules/.ready .tools/.chromium ## Run all tests, or those in TESTS=...
	$(PYTHON) -m pytest $(PARALLEL) $(TESTS)

test-fast: .venv/.ready node_modules/.ready ## Run the tests that are not marked slow
	$(PYTHON) -m pytest $(PARALLEL) -m 'not slow and not proof'

test-oldest: .tools/py311/.ready node_modules/.ready ## Run the fast tests on Python 3.11
	$(OLDEST) -m pytest $(PARALLEL) -m 'not slow and not proof' -p no:cacheprovider

proof: .venv/.ready node_modules/.ready ## Run the long proofs and properties, up to half an hour
	$(PYTHON) -m pytest $(PARALLEL) -m 'proof or hypothesis' --hypothesis-profile=proof

# What the parser says of the rules is saved for the tests, which save theirs there too.
check content content-check: export MAILVIGIL_CACHE_DIR := build/tests

check: .venv/.ready node_modules/.ready ## Lint, format, types, imports, locks, rules, their pages and the templates
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-cache --no-logo
	.ci/uv lock --check
	$(PYTHON) .ci/check_locks.py
	$(PYTHON) -m mailvigil rules check
	$(PYTHON) .ci/content.py --check

content: .venv/.ready node_modules/.ready ## Write all that is generated: queries, pages, lock, templates
	$(PYTHON) .ci/content.py

content-check: .venv/.ready node_modules/.ready ## Name every generated file that is stale
	$(PYTHON) .ci/content.py --check

scan: .venv/.ready ## Scan what the template deploys with checkov
	@rm -rf build/scan
	$(PYTHON) .ci/evaluated.py build/scan
	.ci/scan build/scan

format: .venv/.ready ## Put the code into its form
	$(PYTHON) -m ruff check --fix-only .
	$(PYTHON) -m ruff format .

bench: .venv/.bench ## Measure speed and memory; writes bench/results.md
	$(PYTHON) bench/run.py

simulate: .venv/.ready ## Simulate many tenants and a huge one; writes bench/results.md
	$(PYTHON) bench/run.py --part simulation

wheel: .venv/.ready $(PARSER) ## Build the wheel into dist/
	$(PYTHON) -m hatchling build --target wheel --directory dist

package: .venv/.ready ## Build the Function app's zip into dist/
	@.ci/requirements --check
	$(PYTHON) -m mailvigil function package --out dist/mailvigil-function.zip

clean: ## Remove all that these targets made
	rm -rf .venv .tools node_modules dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f mailvigil-demo-report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv first and alone: with -j the targets below would install it twice at once.
.tools/.ready: .ci/uv .ci/find-python
	@.ci/uv --version
	@mkdir -p .tools && touch $@

.venv/.ready: $(PROJECT) $(call set_up_here,.venv,.ready) | .tools/.ready
	@.ci/uv sync --frozen --all-extras
	@pwd > $@

# The base packages alone, beside what is there already.
.venv/.demo: $(PROJECT) $(call set_up_here,.venv,.demo) | .tools/.ready
	@.ci/uv sync --frozen --no-default-groups --inexact
	@pwd > $@

.venv/.bench: .venv/.ready
	@.ci/uv sync --frozen --all-extras --group bench
	@touch $@

.tools/py311/.ready: $(PROJECT) $(call set_up_here,.tools/py311,.ready) | .tools/.ready
	@UV_PROJECT_ENVIRONMENT=.tools/py311 .ci/uv sync --frozen --all-extras --no-default-groups --group test \
		--python "$$(.ci/find-python 3.11)"
	@pwd > $@

# Not a reason to stop: the tests that need it say what is missing.
.tools/.chromium: .ci/chromium | .venv/.ready
	@.ci/chromium --install > $@.part && mv $@.part $@ || true

node_modules/.parser: package.json package-lock.json .npmrc .ci/npm | .tools/.ready
	@.ci/npm ci --omit=dev --loglevel=error
	@touch $@

node_modules/.ready: package.json package-lock.json .npmrc .ci/npm | .tools/.ready
	@.ci/npm ci --loglevel=error
	@touch $@
