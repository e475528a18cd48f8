# `make` lists the targets. Everything is installed into .venv, from the locks in requirements/.

# Debian's own Python is built with PGO and LTO: an eighth less CPU per request than a plain build.
PYTHON  ?= $(shell /usr/bin/python3.11 -c 'import ensurepip' 2>/dev/null && echo /usr/bin/python3.11 || echo python3)
HOST    ?= 127.0.0.1
PORT    ?= 8080
DATA    ?= ./data
WORKERS ?= 2
ARGS    ?=

BIN := .venv/bin
RUN := .venv/.ready-run
DEV := .venv/.ready-dev
# Packages younger than this stay out of the locks: a hijacked release is mostly found within days.
COOLDOWN ?= P14D

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test check fix bench lock

help: ## list the targets
	@echo 'make TARGET [NAME=value]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' Makefile

setup: $(DEV) ## install everything for development into .venv (does nothing when that is done)

run: $(RUN) ## start the gateway (PORT=8080 HOST=127.0.0.1 DATA=./data)
	@exec $(BIN)/tokenmarket serve --host "$(HOST)" --port "$(PORT)" --data "$(DATA)"

# tools/chromium.sh is done in a moment where Chromium is there.
test: $(DEV) ## run all tests (ARGS='tests/unit -k name -x' to choose, WORKERS=2)
	@sh tools/chromium.sh
	@WORKERS=$(WORKERS) sh tools/test.sh $(ARGS)

check: $(DEV) ## formatting, lint, types, import contracts, rules of the tree
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_tree.py
	$(BIN)/python tools/vendor.py check

fix: $(DEV) ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) ## measure against nginx (see bench/)
	$(BIN)/python bench/run.py $(ARGS)

# --only-binary: what has no wheel never enters a lock. No index address is written into it.
PIP_COMPILE = env -u PIP_FIND_LINKS CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet \
	--generate-hashes --allow-unsafe --strip-extras --no-emit-options \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	--pip-args '--only-binary :all: --uploaded-prior-to $(COOLDOWN)'

lock: $(DEV) ## pin requirements/*.in again (ARGS=--upgrade to move to newer versions)
	$(PIP_COMPILE) $(ARGS) --output-file requirements/run.txt requirements/run.in
	$(PIP_COMPILE) $(ARGS) --output-file requirements/dev.txt requirements/dev.in

$(RUN): requirements/run.txt pyproject.toml tools/venv.sh
	@PYTHON='$(PYTHON)' sh tools/venv.sh run

$(DEV): requirements/run.txt requirements/dev.txt pyproject.toml tools/venv.sh
	@PYTHON='$(PYTHON)' sh tools/venv.sh dev
