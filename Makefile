# `make demo` shows what ichd does, `make test` proves it. Both install what they need into .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install demo test lint format bench docs wheel clean

install: $(STAMP)

# A half-made environment (Debian's python3 leaves one where python3-venv is missing) is made anew.
# The stamp makes every target quick when nothing changed; the package itself is installed editable.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
		|| { echo "make: $(PYTHON) can't make a virtual environment (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/ichd demo

# Files in their order: by the number of their tests, the two longest would come last, with one worker idle.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	for script in $$(grep -l '__main__' tests/benchmarks/*.py); do $(BIN)/python $$script || exit 1; done

# The manual as a site, in site/. A link that leads nowhere ends it, as in the tests.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# setuptools packs whatever an earlier build left there, modules that are gone since included.
wheel: install
	rm -rf build
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) build dist site *.egg-info
