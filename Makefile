# `make repro` runs the pipeline, `make test` the tests; both set up .venv first.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro plots test test-all lint peers

repro: $(VENV)/installed
	dvc repro
	@echo && cat metrics/leaderboard.md
	@echo && echo 'More in metrics/report.html'

# dvc_plots/index.html, with Vega inside; also in a clone that has not run the pipeline.
plots: $(VENV)/installed
	dvc repro plots_template
	dvc plots show

test: $(VENV)/installed
	python -m pytest -m "not long"

# Also the recipes of docs/: experiments, sharing through a local S3 server, data of other kinds.
test-all: $(VENV)/installed
	python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	python -m pytest

lint: $(VENV)/installed
	ruff check .
	ruff format --check .

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# Other libraries on our split, in an environment of their own; after `make repro`.
peers: $(VENV)-peers/installed
	$(VENV)-peers/bin/python -m benchmarks.peers

$(VENV)-peers/installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
