PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.imagen-ready
UNFINISHED := $(VENV)/.imagen-unfinished
DISTS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml workflows/pyproject.toml))
PIP = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
# The theme prints a notice about its successor on every build. With --quiet, --strict would see no warning.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
# Nothing of the user's own settings, keys or history may reach the demo.
IMAGEN = env -i PATH="$$PATH" HOME="$(CURDIR)/demo" IMAGEN_CONFIG=demo/imagen.yaml \
	IMAGEN_DATA_DIR=demo/data IMAGEN_CACHE_DIR=demo/cache $(BIN)/imagen

.DEFAULT_GOAL := help
.PHONY: help dev demo test lint types bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile
	@echo "  PYTHON=$(PYTHON) makes the environment in VENV=$(VENV); ARGS goes to pytest or the benchmarks."

dev: $(STAMP) ## make the virtual environment with everything in it, editable

$(STAMP): pyproject.toml constraints.txt $(DISTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "imagen needs Python 3.11 or newer, which '$(PYTHON)' is not." >&2; \
		echo "Name one that is, for example: make PYTHON=python3.12 demo" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
		echo "Install them (Debian, Ubuntu: apt-get install python3-venv)," >&2; \
		echo "or name another Python, for example: make PYTHON=python3.12 demo" >&2; exit 1; }
	@if [ ! -f $(VENV)/pyvenv.cfg ] && [ -n "$$(find $(VENV) -type f 2>/dev/null | head -n 1)" ]; then \
		echo "$(VENV) is there and is no virtual environment. Name another folder, for example: make VENV=.venv-imagen dev" >&2; exit 1; fi
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "Making $(VENV) ..."; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(UNFINISHED)
	@echo "Installing into $(VENV) ..."
	@$(PIP) install --upgrade pip
	@$(PIP) install --group test --group lint --group docs $(patsubst %,--editable ./%,. $(DISTS))
	@mv $(UNFINISHED) $(STAMP) && touch $(STAMP)
	@echo "$(VENV) is ready."

demo: dev ## make a few pictures in ./demo with the mock backend
	@rm -rf demo && mkdir demo
	@$(IMAGEN) config init > demo/imagen.yaml
	@$(IMAGEN) generate "a cat in a fishbowl" --backend mock --seed 42 --size 768x512 --output demo/cat.png
	@$(IMAGEN) generate "a lighthouse in the fog" --backend mock --seed 7 --size 512x768 --output demo/lighthouse.png
	@$(IMAGEN) generate "two moons over a paper city" --backend mock --seed 1 --count 2 --output demo/moons.png
	@echo "The pictures, each with its sidecar, are in $(CURDIR)/demo"

test: dev ## run the whole suite; ARGS="-k name -x" goes to pytest
	@$(BIN)/python -m pytest -n auto $(ARGS)

lint: dev types ## check format, rules, types, spelling and the docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	@site=$$(mktemp -d); $(MKDOCS) --site-dir "$$site"; status=$$?; rm -rf "$$site"; exit $$status

types: dev ## check the types of the core and of each plugin
	$(BIN)/mypy
	@for dist in $(DISTS); do echo "mypy in $$dist"; \
		(cd $$dist && "$(abspath $(BIN))/mypy" --config-file "$(CURDIR)/pyproject.toml" .) || exit 1; done

bench: dev ## measure, against peers
	@$(BIN)/python -m bench $(ARGS)

docs: dev ## build the site into ./site
	@$(MKDOCS)

clean: ## remove whatever these targets made
	rm -rf demo site dist .bench .pytest_cache .ruff_cache .mypy_cache plugins/*/.mypy_cache workflows/.mypy_cache
	find . -path './$(VENV)' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -e $(STAMP) ] || [ -e $(UNFINISHED) ]; then echo "rm -rf $(VENV)"; rm -rf $(VENV); fi
