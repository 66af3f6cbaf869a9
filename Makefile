# make quickstart   from nothing to a fine-tuned model (sets up .venv by itself)
# make test         the fast tests          make test-slow   the slow ones too
# make check        style and floors        make docs        the generated pages
# make bench        beside LLaMA-Factory (which gets an environment of its own)      make bench-parity   its token ids and labels
# make starter      makes the starter model again

PYTHON ?= python3.11
BIN = .venv/bin
READY = .venv/.ready

.PHONY: install quickstart test test-slow check bench bench-parity docs starter clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,check]"
	touch $(READY)

quickstart: $(READY)
	$(BIN)/luthier quickstart

test test-slow: export OMP_NUM_THREADS = 1

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_floors.py

BENCH_READY = .bench-venv/.ready

$(BENCH_READY): $(READY) bench/peer/requirements.txt
	$(BIN)/python -m bench.setup_peer
	touch $(BENCH_READY)

bench: $(BENCH_READY)
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.first_step
	$(BIN)/python -m bench.sft --model small
	$(BIN)/python -m bench.sft --model large
	$(BIN)/python -m bench.data
	$(BIN)/python -m bench.predict
	$(BIN)/python -m bench.serve

bench-parity: $(BENCH_READY)
	$(BIN)/python -m bench.parity

starter: $(READY)
	$(BIN)/python -m recipes.starter.build

docs: $(READY)
	$(BIN)/python -m luthier.config.reference
	$(BIN)/python -m luthier.workflows.sizes

clean:
	rm -rf .venv .bench-venv .pytest_cache .ruff_cache .hypothesis
