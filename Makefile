# Every target creates .venv on its first call and reuses it later.
# Use another interpreter with `make PYTHON=python3.12 test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ZOO := .zoo
SCRIPTS := .scripts

# No request leaves the machine while the project is checked.
export VALIDATE_PYPROJECT_NO_NETWORK := 1

.PHONY: help install check format docs test demo consumers models cards zoo rehearse clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(STAMP) ## create .venv and install the project with its tools

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is older: use make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

check: install ## linter, types, packaging, spelling, documentation, contents of the wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/typos
	$(MAKE) --no-print-directory docs
	$(BIN)/pytest -q tests/test_packaging.py tests/test_architecture.py

format: install ## sort imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## build the documentation, warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

test: install ## run every test
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov --cov-report=term

demo: install ## the whole way on a generated sample, in demo/
	$(BIN)/denoisplit demo --out demo --overwrite

# About 3 GB in the user's cache folder, built once; needs Java 11 and Maven beside Python.
consumers: install $(SCRIPTS)/.installed ## build the engines of Fiji, QuPath, ilastik and the zoo that check runs
	$(BIN)/denoisplit check --build-consumers

# ImageJ and Groovy (10 MB), in which tests run the scripts of model cards.
$(SCRIPTS)/.installed: tests/export/scripts/pom.xml
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(SCRIPTS)
	@touch $@

# A server like the zoo's on this machine, in an environment of its own (about 610 MB): newer releases
# of sqlmodel stop it at its start. Tests that upload are skipped without it.
zoo: $(ZOO)/.installed ## build the rehearsal server to which tests upload

$(ZOO)/.installed:
	@test -x $(ZOO)/bin/python || $(PYTHON) -m venv $(ZOO)
	$(ZOO)/bin/python -m pip install --quiet "hypha[s3]==0.21.137" "moto[server]==5.2.5" requests httpx \
		"sqlmodel<0.0.28" "sqlalchemy<2.1"
	@touch $(ZOO)/.installed

rehearse: install zoo ## start that server and say how to upload to it; Ctrl-C stops it
	$(BIN)/python tests/export/upload/rehearsal.py $(ZOO)/bin/python

# From the images in ../shared/data; at most 40 minutes each on two cores. What is finished is not repeated.
models: install ## train, measure, export and check the demonstration models, in models/
	$(BIN)/denoisplit models

cards: install ## render model_cards/ from recipes and committed figures
	$(BIN)/denoisplit models --only-cards

clean: ## remove what was built, but not .venv
	rm -rf build dist demo docs/_build .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
