# Every target sets itself up: `make demo` on a fresh clone is enough.
# Set-up is .ci/setup; it does nothing when requirements.lock and pyproject.toml are unchanged.

SHELL := /bin/sh
BIN := .venv/bin
PACKAGES := p2pdeploy daemon/p2pdaemon tracker/p2ptracker tools/p2pctl tools/p2psim
PYTHON_FOLDERS := $(PACKAGES) tests benchmarks examples
# The full count is split so that a failing range names itself and memory stays flat.
SOAK_STARTS := 0 250 500 750 1000 1250 1500 1750
# All of benchmarks/ but demo_time, which installs a clone of its own.
BENCHMARKS := cli_start daemon_memory publish egress swarm_tls enrolment release_metadata small_files

.DEFAULT_GOAL := help
.PHONY: help setup demo test check sim bench docs soak lock

help: ## Say what each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 8

setup: ## Make .venv with every dependency and entry point
	@.ci/setup

demo: setup ## Run the main job: twelve hosts, three versions, the last one bad
	$(BIN)/p2pctl demo

test: setup ## Run every test but the soak ones (about 20 minutes)
	@.ci/test

check: setup ## Format, lint, types, import rules, and the wheel in a clean environment
	$(BIN)/ruff format --check $(PYTHON_FOLDERS)
	$(BIN)/ruff check $(PYTHON_FOLDERS)
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_tidy.py tests/test_wheel.py

sim: setup ## Simulate 200 seeded activations and check the invariants
	$(BIN)/p2psim activation --hosts 24 --fds 4 --seeds 0..200

bench: setup ## Print one JSON line per measured figure (see benchmarks/README.md)
	@missed=; for script in $(BENCHMARKS); do \
		$(BIN)/python benchmarks/$$script.py || missed="$$missed $$script"; \
	done; \
	if [ -n "$$missed" ]; then echo "make bench: a limit was missed, or it failed:$$missed" >&2; exit 1; fi

docs: setup ## Regenerate docs/reference from the message types and check every link
	$(BIN)/python docs/reference/make_schemas.py
	$(BIN)/pytest -q tests/test_tidy.py -k docs

soak: setup ## Run the full counts: soak tests and 2,000 simulated activations
	$(BIN)/pytest
	for start in $(SOAK_STARTS); do \
		$(BIN)/p2psim activation --hosts 24 --fds 4 --seeds $$start..$$((start + 250)) || exit 1; \
	done

lock: setup ## Resolve pyproject.toml anew into requirements.lock (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make lock: uv is missing; install uv" >&2; exit 1; }
	uv pip compile --all-extras --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --output-file requirements.lock pyproject.toml
