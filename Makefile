# `make repro` runs the pipeline, `make test` the tests; both set up .venv first.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Tests in two processes, each of which takes the next one, or the next group.
SHARED_OUT := --numprocesses 2 --dist loadgroup
# A lock is complete; on macOS pip would also ask for what [tool.uv] of pyproject.toml leaves out.
INSTALL := python -m pip install --quiet --disable-pip-version-check --require-hashes \
  $(if $(filter Darwin,$(shell uname)),--no-deps)

.PHONY: repro plots compare test test-ci test-all lint bench-quick peers mutants requirements wheels \
  audit

repro: $(VENV)/installed
	dvc repro
	@echo && cat metrics/leaderboard.md
	@echo && echo 'More in metrics/report.html'
	@git diff --quiet HEAD -- dvc.lock 2>/dev/null; if [ $$? = 1 ]; then echo \
	  'dvc.lock has changed: `git commit -am "Baseline on this machine"` keeps this run to compare with'; fi

# dvc_plots/index.html, with Vega inside; also in a clone that has not run the pipeline.
plots: $(VENV)/installed
	dvc repro plots_template
	dvc plots show

# The workspace against a branch, commit or experiment, by the validation targets: make compare REV=main
compare: $(VENV)/installed
	@python -m stages.reporting.compare $(REV)

test: $(VENV)/installed
	python -m pytest -m "not long" -rs $(SHARED_OUT)

# The tests, and the part of the long ones whose turn is today; three days run them all.
test-ci: $(VENV)/installed
	$(INSTALL) -r tests/requirements.txt -r requirements-ray.txt
	python -m pytest -rs --long-part $$(( $$(date +%-j) % 3 ))/3 $(SHARED_OUT)

# Also the long ones, and the recipes of docs/: experiments, sharing through a local S3 server, a Ray
# cluster.
test-all: $(VENV)/installed
	$(INSTALL) -r tests/requirements.txt -r requirements-ray.txt
	python -m pytest -rs $(SHARED_OUT)

lint: $(VENV)/installed
	ruff check .
	ruff format --check .

# Seconds of the most important steps, beside those of a baseline: `make bench-quick baseline=1`.
bench-quick: $(VENV)/installed
	dvc repro download
	python -m benchmarks.quick $(if $(baseline),--baseline)

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	@touch $@

# Other libraries on our split, in an environment of their own; after `make repro`.
peers: $(VENV)-peers/installed
	$(VENV)-peers/bin/python -m benchmarks.peers

$(VENV)-peers/installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Small changes of the source that no test notices, in an environment of its own; `only` names
# packages or modules: make mutants only="evaluation stages/data/pairs.py".
mutants: $(VENV)-mutants/installed
	$(VENV)-mutants/bin/python -m benchmarks.mutants $(only)

$(VENV)-mutants/installed: requirements.txt benchmarks/requirements-mutants.txt
	$(PYTHON) -m venv $(VENV)-mutants
	$(VENV)-mutants/bin/$(INSTALL) -r requirements.txt
	$(VENV)-mutants/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r benchmarks/requirements-mutants.txt
	@touch $@

# Versions and hashes of all that requirements*.in and tests/requirements.in need, for all platforms and
# all versions of Python at once, which share one version of each package.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
  --generate-hashes --no-annotate --custom-compile-command "make requirements"
LOCKED := requirements requirements-serving tests/requirements requirements-ray
requirements: $(VENV)-lock/installed
	constraints=; for name in $(LOCKED); do \
	  cp $$name.txt $$name.tmp && \
	  $(VENV)-lock/bin/$(LOCK) $$constraints $$name.in -o $$name.tmp && \
	  mv $$name.tmp $$name.txt || exit 1; \
	  constraints="$$constraints -c $$name.txt"; done
	$(MAKE) wheels

# All these versions resolve for each platform and Python, and have wheels there; nothing is installed.
# antlr4-python3-runtime has no wheel anywhere, and is Python alone.
PLATFORMS := x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin
RESOLVE := uv pip install --quiet --dry-run --target $(VENV)-lock/none --require-hashes \
  --only-binary :all: --no-binary antlr4-python3-runtime
wheels: $(VENV)-lock/installed
	for platform in $(PLATFORMS); do for python in 3.11 3.12 3.13; do for name in $(LOCKED); do \
	  MACOSX_DEPLOYMENT_TARGET=14.0 $(VENV)-lock/bin/$(RESOLVE) --python-platform $$platform \
	    --python-version $$python -r $$name.txt || \
	    { echo "$$name.txt: does not fit $$platform, Python $$python" >&2; exit 1; }; done; done; done

# Known vulnerabilities of those versions.
audit: $(VENV)-lock/installed
	$(VENV)-lock/bin/pip-audit --no-deps --disable-pip -r requirements.txt

$(VENV)-lock/installed:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==0.13.9 pip-audit==2.10.1
	@touch $@
