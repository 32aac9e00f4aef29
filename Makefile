# `make repro` runs the pipeline, `make test` the tests; both set up .venv first.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro test lint clean

repro: $(VENV)/installed
	dvc repro
	@echo && cat metrics/leaderboard.md

test: $(VENV)/installed
	python -m pytest

lint: $(VENV)/installed
	ruff check .
	ruff format --check .

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
