# `make demo` and `make test` each work alone in a fresh clone: Python 3.11, git and make are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test slow lint types contracts docs clean

demo: $(INSTALLED)
	$(BIN)/autoseg demo

# In two processes of one thread each: a file's tests stay together, as they share what they prepare.
test: export OMP_NUM_THREADS ?= 1
test: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile

slow: $(INSTALLED)
	$(BIN)/pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

contracts: $(INSTALLED)
	$(BIN)/lint-imports

# Every warning is an error; links between pages are checked, nothing outside is fetched.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky docs build/docs
	@echo "The documentation: build/docs/index.html"

# The whole development install, so that every target finds what it needs whichever comes first.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo_workspace docs/measurements
