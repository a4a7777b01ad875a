# `make help` lists what there is. Needs Python 3.11 or newer, with venv, and nothing else.

PORT ?= 8000
# Another interpreter, say PYTHON=python3.13; unset: the first of these that is new enough.
PYTHON ?=
PYTHONS := python3 python3.13 python3.12 python3.11
UV ?= uv

BIN := .venv/bin
# Their times tell when the virtual environment was last made to match the locks.
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed
BENCH := .venv/.bench-installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input -qq
# Build isolation would fetch a build backend that no lock names.
INSTALL_SELF := $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
UV_COMPILE = $(UV) pip compile $(ARGS) --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help run test check format bench lock clean

help: ## this list
	@echo "make run     serve the sample chain on port $(PORT), database included (PORT=9000 make run)"
	@echo "make test    run every test"
	@echo "make check   lint, and check formatting, types and who imports whom"
	@echo "make format  format the code"
	@echo "make bench   print the benchmark table"
	@echo "make lock    write the requirements*.lock files anew (needs uv; ARGS=--upgrade)"
	@echo "make clean   remove the virtual environment and caches; the data folder stays"
	@echo
	@echo "PYTHON=python3.13 make ... chooses the interpreter of a new virtual environment."

# exec, so that Ctrl-C and SIGTERM reach the service itself, once.
run: $(RUNTIME)
	@exec $(BIN)/nearcode demo --port $(PORT)

test: $(DEV)
	@exec $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(ARGS)

check: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(DEV)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(BENCH)
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

# Universal: one lock for Python 3.11 to 3.13, Linux and macOS, Intel and ARM.
lock: # ARGS=--upgrade for newer versions
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or UV=/path/to/uv" >&2; exit 1; }
	$(UV_COMPILE) pyproject.toml --group build --group dev --output-file requirements-dev.lock
	$(UV_COMPILE) pyproject.toml --group build --constraints requirements-dev.lock \
		--output-file requirements.lock
	$(UV_COMPILE) --group bench --constraints requirements-dev.lock \
		--output-file requirements-bench.lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find geo service tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@found=; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$python; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "nearcode needs Python 3.11 or newer; none of these is: $(or $(PYTHON),$(PYTHONS))." >&2; \
		echo "Install one, or name it: PYTHON=/path/to/python3.11 make ..." >&2; \
		exit 1; \
	fi; \
	echo "Making .venv with $$found ($$($$found --version))"; \
	$$found -m venv .venv || { \
		rm -rf .venv; \
		echo "$$found cannot make a virtual environment." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	}

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what nearcode needs (once; a minute or two)"
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL_SELF)
	@touch $@

# The development lock holds the other one's packages, too, in the same versions.
$(DEV): requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what nearcode and its tests need (once; a minute or two)"
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@$(INSTALL_SELF)
	@touch $@ $(RUNTIME)

# The peers that are measured against; their lock agrees with the development one.
$(BENCH): requirements-bench.lock $(DEV)
	@echo "Installing what the benchmarks compare with (once)"
	@$(PIP_INSTALL) --require-hashes --requirement requirements-bench.lock
	@touch $@
