# `make` or `make list` shows what there is. Every target sets up what it needs first.
.DEFAULT_GOAL := list
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
ONCE ?=
DATA ?=
N ?=

.PHONY: list setup demo test check eval bench bench-search bench-audit bench-gpu bench-gpu-free soak soak-ingest soak-audit test-folder lock clean

list: ## Show these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

setup: ## Make .venv and install what is needed (again only after a change)
	@sh deploy/setup.sh

demo: setup ## Start everything, ask one question, keep serving until Ctrl-C (ONCE=1: exit after it)
	@exec $(PY) manage.py demo $(if $(filter-out 0,$(ONCE)),--once)

test: setup ## Run the whole suite
	@exec $(PY) -m pytest -q

check: setup ## Formatting, lint, types, and who may import whom
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest tests/test_imports.py -q

eval: setup ## Measure answers on DATA=dir (cuad/, pubmedqa/, documents/)
	@test -n "$(DATA)" || { echo "Name the data: make eval DATA=dir" >&2; exit 2; }
	@exec $(PY) -m benchmarks.evaluate --data "$(DATA)"

bench: setup ## Measure search, ingest and chat on this machine
	@exec $(PY) -m benchmarks.bench

bench-search: setup ## Measure search among N made chunks (N=1000000), by people who see all or some of them
	@exec $(PY) -m benchmarks.bench_search $(if $(N),--chunks $(N))

bench-audit: setup ## Measure how fast the audit is written, sealed, verified and searched (N=5000000 events)
	@exec $(PY) -m benchmarks.bench_audit $(if $(N),--events $(N))

bench-gpu: setup ## Measure the model server on this machine's GPU
	@exec $(PY) -m inference.gptoss.bench_gpu

bench-gpu-free: setup ## Measure the model server without a GPU
	@exec $(PY) -m inference bench --cpu

soak: setup ## Run 200 streams at a time, many hanging up, against the model server of every tier
	@exec $(PY) -m benchmarks.soak

soak-ingest: setup ## Kill workers 20 times at each stage of a file's way, the database and the queue too (minutes)
	@exec $(PY) -m benchmarks.soak_ingest

soak-audit: setup ## Kill parts 20 times while people ask, then go through the whole audit (minutes)
	@exec $(PY) -m benchmarks.soak_audit

test-folder: setup ## Drop a folder of 500 mixed files on the page while workers are killed (minutes)
	@exec env READING_ROOM_FOLDER_FILES=500 $(PY) -m pytest -q tests/browser/test_five_hundred_files.py

lock: setup ## Write deploy/lock/requirements.txt from pyproject.toml
	@sh deploy/lock/compile.sh

clean: ## Remove caches; .venv and var stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
