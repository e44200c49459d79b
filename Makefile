# make demo   opens JupyterLab on a sick notebook, with the doctor beside it
# make test   runs everything: linters, types, jest, pytest, browser tests
# Both set up what they need in .venv and node_modules; a second run finds it there. All is listed by `make help`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8888
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
LOGS := $(STAMPS)/logs

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# So that nothing but the lock decides what is installed.
export PIP_NO_INPUT := 1

BUNDLE_SOURCES := $(shell find src style schema -type f -not -path '*/__tests__/*' 2>/dev/null) \
	package.json yarn.lock tsconfig.json .yarnrc.yml
PACKAGE_SOURCES := pyproject.toml hatch_build.py install.json LICENSE \
	$(shell find jupyter-config ipython-config -type f 2>/dev/null)

.PHONY: help demo test lint types test-js test-py test-ui bench clinic images build lock clean setup

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# What is set up, one stamp each --------------------------------------------------------------------

$(STAMPS)/python: requirements.lock
	@mkdir -p $(LOGS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "== Python environment in $(VENV)"; $(PYTHON) -m venv $(VENV) || \
		{ echo "The venv module of $(PYTHON) is missing (Debian: apt-get install python3-venv)." >&2; exit 1; }; }
	@echo "== Python packages (requirements.lock)"
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/node: package.json yarn.lock .yarnrc.yml $(STAMPS)/python
	@echo "== Node packages (yarn.lock)"
	@jlpm install --immutable > $(LOGS)/node.log 2>&1 || { cat $(LOGS)/node.log >&2; exit 1; }
	@touch $@

# A copy of the built labextension lands in .venv/share/jupyter, so a change of TypeScript installs anew.
$(STAMPS)/package: $(BUNDLE_SOURCES) $(PACKAGE_SOURCES) $(STAMPS)/node
	@echo "== jupyter-dask-doctor (labextension, editable install)"
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e . > $(LOGS)/package.log 2>&1 || \
		{ cat $(LOGS)/package.log >&2; exit 1; }
	@touch $@

$(STAMPS)/chromium:
	@mkdir -p $(STAMPS)
	@ui-tests/chromium > $@

setup: $(STAMPS)/package ## sets up everything but the browser

# What is run ---------------------------------------------------------------------------------------

OVERRIDES := $(VENV)/share/jupyter/lab/settings/overrides.json

demo: $(STAMPS)/package ## opens JupyterLab on binder/demo.ipynb, panel open (PORT=8888)
	@mkdir -p $(dir $(OVERRIDES)) && cp binder/overrides.json $(OVERRIDES)
	@options=(--port=$(PORT) --log-level=WARN --ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/binder/demo.ipynb); \
	if [ "$$(id -u)" = 0 ]; then options+=(--allow-root); fi; \
	if [ "$$(uname)" != Darwin ] && [ -z "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ]; then \
		echo "== No display here: open the address with the token, printed below, in a browser."; \
		options+=(--no-browser); \
	fi; \
	exec jupyter lab "$${options[@]}"

test: lint types test-js test-py test-ui ## runs all tests
	@echo; echo "== All passed"; tail -qn 1 $(LOGS)/lint.log; \
	grep -hE '^(Tests|Test Suites):' $(LOGS)/test-js.log; tail -n 1 $(LOGS)/test-py.log; \
	grep -hE '^ +[0-9]+ (passed|flaky|skipped)' $(LOGS)/test-ui.log || true

lint: $(STAMPS)/node ## ruff, import contracts, eslint, prettier, stylelint
	@echo "== lint"
	@{ ruff check --quiet . && ruff format --check --quiet . && lint-imports --no-logo && jlpm lint:check \
		&& echo "lint: clean"; } 2>&1 | tee $(LOGS)/lint.log

types: $(STAMPS)/node ## mypy and tsc, both strict
	@echo "== types"
	@mypy
	@jlpm tsc --noEmit && echo "tsc: no issues found"

test-js: $(STAMPS)/node ## jest
	@echo "== jest"
	@jlpm test 2>&1 | tee $(LOGS)/test-js.log

test-py: $(STAMPS)/package ## pytest
	@echo "== pytest"
	@pytest -q -n 3 --dist loadfile 2>&1 | tee $(LOGS)/test-py.log

test-ui: $(STAMPS)/package $(STAMPS)/chromium ## browser tests, in a real JupyterLab
	@echo "== browser"
	@CHROMIUM_PATH="$$(cat $(STAMPS)/chromium)" jlpm test:ui 2>&1 | tee $(LOGS)/test-ui.log

bench: $(STAMPS)/package $(STAMPS)/chromium ## what the doctor costs and how soon it speaks, on this machine
	@python benchmarks/scheduler.py
	@python benchmarks/snapshot.py
	@python benchmarks/profiling.py
	@UI_BENCH=1 CHROMIUM_PATH="$$(cat $(STAMPS)/chromium)" jlpm test:ui --reporter=line

$(STAMPS)/old: tests/clinic/old-distributed.txt
	@mkdir -p $(STAMPS)
	@echo "== An older Dask in .venv-old, for notebooks on versions"
	@test -x .venv-old/bin/python || $(PYTHON) -m venv .venv-old
	@.venv-old/bin/python -m pip install -qq -r tests/clinic/old-distributed.txt
	@touch $@

clinic: $(STAMPS)/package $(STAMPS)/old ## runs all notebooks of examples/ in real kernels, writes docs/clinic.md (half an hour)
	@DASK_DOCTOR_OLD_PYTHON=$(CURDIR)/.venv-old/bin/python python -m tests.clinic --record

images: $(STAMPS)/package $(STAMPS)/chromium ## takes the pictures in docs/images anew
	@DOCTOR_IMAGES=1 CHROMIUM_PATH="$$(cat $(STAMPS)/chromium)" jlpm test:ui looks

build: $(STAMPS)/node ## wheel and sdist in dist/
	@rm -rf dist && python -m build --no-isolation

lock: $(STAMPS)/python ## writes requirements.lock and yarn.lock anew
	@$(BIN)/python -m pip install -qq uv
	@uv pip compile --quiet --universal --python-version 3.10 --all-extras --generate-hashes --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock pyproject.toml
	@jlpm install

clean: ## removes everything that was built or installed
	@rm -rf $(STAMPS) $(VENV) node_modules lib dist build coverage test-results playwright-report \
		jupyter_dask_doctor/labextension tsconfig.tsbuildinfo .venv-old
