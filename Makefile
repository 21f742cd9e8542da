# Everything runs in its own virtual environment; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= myarch.safetensors

.PHONY: help demo test check sweep bench bench-quality cuda docs docs-examples performance snapshot clean
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	touch $@

demo: $(VENV)/.demo ## index timm, recommend a source for examples/myarch.py, transfer real weights into it
	$(BIN)/zoo index refresh
	$(BIN)/zoo recommend --target examples/myarch.py
	$(BIN)/zoo transfer --target examples/myarch.py --auto --available --output $(OUTPUT)

check: $(VENV)/.dev ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check ## everything that must hold, in a few minutes
	$(BIN)/python -m pytest -n logical

sweep: $(VENV)/.dev ## the same laws over the whole zoo, slowly
	$(BIN)/python -m pytest -n logical -m slow

bench: $(VENV)/.dev ## write benchmarks/results
	cd benchmarks && for script in bench_*.py; do ../$(BIN)/python $$script || exit 1; done

bench-quality: $(VENV)/.dev ## does it help? resumable, an hour on two cores; QUALITY="--data FOLDER" and more
	cd benchmarks && OMP_NUM_THREADS=1 ../$(BIN)/python -m quality $(QUALITY)

cuda: ## check and time transfer on a GPU, in three minutes; PYTHON needs torch, numpy, numba, safetensors alone
	@PYTHONPATH=.:benchmarks$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m gpu

docs: $(VENV)/.dev ## build the pages of docs/ into build/site; a warning fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-examples: $(VENV)/.dev ## run the examples of the pages and write what they print now; PAGES=docs/questions.md for one
	OMP_NUM_THREADS=1 $(BIN)/python tests/support/pages.py $(or $(PAGES),$(wildcard docs/*.md))

performance: $(VENV)/.dev ## write docs/performance.md from benchmarks/results
	cd benchmarks && ../$(BIN)/python report.py

snapshot: $(VENV)/.demo ## build the shipped index anew from the installed timm
	$(BIN)/zoo --db build/snapshot.db index refresh --no-snapshot
	$(BIN)/zoo --db build/snapshot.db index export data

clean:
	rm -rf $(VENV) build
