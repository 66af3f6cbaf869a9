# make quickstart   from nothing to a fine-tuned model (sets up .venv by itself)
# make test         the fast tests          make test-slow   the slow ones too
# make check        style, types, floors    make bench       against LLaMA-Factory, in an environment of its own
# make starter      makes the starter model again            make docs   generated pages

PYTHON ?= python3.11
BIN = .venv/bin
READY = .venv/.ready

.PHONY: install quickstart test test-slow check bench bench-env docs starter clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,check]"
	touch $(READY)

quickstart: $(READY)
	$(BIN)/luthier quickstart

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_floors.py

starter: $(READY)
	$(BIN)/python -m recipes.starter.build

docs: $(READY)
	$(BIN)/python -m luthier.config.reference

clean:
	rm -rf .venv .bench-venv .pytest_cache .ruff_cache .hypothesis
