# Everything that is done often. Needs make, a Python >= 3.10 with venv, and a package index for pip and uv.

PYTHON ?= python3

BIN := .venv/bin
READY := .venv/.ready

export PYTHONUTF8 := 1

.PHONY: help demo test test-stores lint docs bench clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 8

demo: $(READY) ## run the example twice, in environments made for it, and show them
	@$(BIN)/python -m mfenv.testing.demo examples/hello_conda.py --state .demo

test: lint ## check everything: style, types, layers, doctests, tests (the local channel is built once)
	$(BIN)/python -m mfenv.testing.channel build
	$(BIN)/python -m pytest -q --doctest-modules src/mfenv
	$(BIN)/python -m pytest -n 2 --ignore=tests/stores --ignore=tests/remote/test_rig_stores.py tests

test-stores: $(READY) ## check all four stores: a folder, S3, Azure Blob and Google Storage (needs node with npm, and openssl)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[testing]' --group dev --group stores
	$(BIN)/python -m mfenv.testing.channel build
	$(BIN)/python -m pytest -n 2 tests/contract/test_blob_stores.py tests/contract/test_object_stores.py tests/stores tests/remote/test_rig_stores.py

lint: $(READY) ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY) ## write the generated pages anew: docs/reference
	$(BIN)/python scripts/write_reference.py

bench: $(READY) ## measure; takes about half an hour, and wants the machine for itself
	$(BIN)/python benchmarks/unchanged_run.py
	$(BIN)/python benchmarks/import_cost.py
	$(BIN)/python benchmarks/command_line.py
	$(BIN)/python benchmarks/warm_caches.py
	$(BIN)/python benchmarks/pypi.py
	$(BIN)/python benchmarks/pypi_mixed.py
	$(BIN)/python benchmarks/conda_lock.py
	$(BIN)/python benchmarks/foreach.py
	$(BIN)/python benchmarks/reliability.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/store_transfer.py
	$(BIN)/python benchmarks/remote_start.py
	$(BIN)/python benchmarks/load.py

clean: ## remove what these commands made here; the local channel in the user's cache stays
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

# Made anew when the requirements or the version change.
$(READY): pyproject.toml src/mfenv/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $(PYTHON) is older than Python 3.10; try: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[testing]' --group dev
	@touch $@
