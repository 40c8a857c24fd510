# Every command of the project. `make demo` and `make test` are all a new user needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's variables: where a folder of wheels is offered (CPU builds of torch), hand it on.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python -c constraints.txt
# What the processes import at their start. Compiling the rest as well would cost 50 MB of disk.
COMPILED := aiofiles aiohttp anyio av click cv2 engineio fastapi h11 httpcore httpx jinja2 msgspec \
  multipart nicegui numpy onnx onnxruntime/capi prometheus_client pydantic socketio sqlalchemy \
  starlette typer uvicorn websockets yaml
NOT_COMPILED := /tests?/|/testing/|f2py|onnx/(reference|backend|test)|dialects/(mysql|oracle|mssql)
PYTEST := $(BIN)/python -m pytest
DEMO_PORT ?= 8600

.PHONY: help demo test quick check faults bench docs install install-dev system-tools clean

help:
	@echo "make demo     install, then show a recycling kiosk on http://127.0.0.1:$(DEMO_PORT)"
	@echo "make test     install, then everything that must pass"
	@echo "make quick    the fast tests (about a minute)"
	@echo "make check    lint, format of imports, types, floors, generated files"
	@echo "make faults   the long fault tests"
	@echo "make bench    the benchmarks, as ratios"
	@echo "make docs     generated documents and the README's picture"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "saccade needs Python 3.11 or newer; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==0.13.8"
	@$(UV) pip uninstall --quiet --python $(BIN)/python pip setuptools

$(VENV)/.core: $(BIN)/uv pyproject.toml constraints.txt
	@$(INSTALL) -e .
	@cd $(VENV)/lib/python3*/site-packages && ../../../bin/python -m compileall -q -j 2 -x '$(NOT_COMPILED)' $(COMPILED)
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@$(INSTALL) -e ".[dev,postgres]"
	@touch $@

install: $(VENV)/.core
install-dev: $(VENV)/.dev

demo: $(VENV)/.core
	@exec $(BIN)/saccade demo --port $(DEMO_PORT)

# Chromium, an RTSP server and Prometheus for the tests; skipped, with a word, where not possible.
system-tools:
	@bash tools/install-test-tools.sh

test: $(VENV)/.dev system-tools check
	$(PYTEST) -n 3 --dist loadscope -m "not alone and not bench"
	$(PYTEST) -m "alone and not bench"

quick: $(VENV)/.dev
	$(PYTEST) -q -n 2 --dist loadscope -m "not tree and not browser and not slow and not services and not faults and not bench and not alone"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_house.py

faults: $(VENV)/.dev system-tools
	SACCADE_FAULT_ROUNDS=50 $(PYTEST) -m "faults or bench"

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev
	$(BIN)/saccade schema --write .
	$(BIN)/python tools/screenshots.py docs/images

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
