# Only git, make and python3 with venv are assumed. Everything else is brought into this folder.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv),.tools/bin/uv)

export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export DO_NOT_TRACK := 1

.PHONY: setup demo test soak bench lint format clean

setup: .venv/.ready  ## install the locked packages and the `pancake` command into .venv

.venv/.ready: uv.lock pyproject.toml | $(UV)
	$(UV) sync --frozen --all-extras --python $(PYTHON)
	@touch $@

.venv-bigquery/.ready: tests/bigquery_emulator/uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-bigquery \
		$(UV) sync --frozen --project tests/bigquery_emulator --python $(PYTHON)
	@touch $@

.venv-bench/.ready: uv.lock pyproject.toml | $(UV)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-bench UV_COMPILE_BYTECODE=1 \
		$(UV) sync --frozen --no-dev --python $(PYTHON)
	@touch $@

.venv-airflow/.ready: tests/airflow/uv.lock pyproject.toml | $(UV)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-airflow \
		$(UV) sync --frozen --project tests/airflow --python $(PYTHON)
	@touch $@

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

demo: setup  ## two loads from a simulated Pancake into demo.duckdb
	.venv/bin/python -m pipelines.demo

test: setup .venv-bigquery/.ready .venv-airflow/.ready  ## every test
	.venv/bin/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

soak: setup  ## thousands of simulated lives; SEEDS=5000 FIRST=0
	.venv/bin/python -m tests.simulation --seeds $(or $(SEEDS),5000) --first $(or $(FIRST),0)

bench: setup .venv-bench/.ready  ## processor time and memory, beside rest_api and a script by hand; about 10 minutes
	.venv/bin/python -m benchmarks

lint: setup  ## style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy sources/pancake pipelines tests
	cd sources && ../.venv/bin/mypy --cache-dir ../.mypy_cache --config-file ../pyproject.toml --exclude '^$$' pancake_pipeline.py

format: setup  ## rewrite the code in the house style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:  ## remove everything that make brought
	rm -rf .venv .venv-airflow .venv-bench .venv-bigquery .tools .cache .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis demo.duckdb
