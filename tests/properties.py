"""Hypothesis, with the same draws in every run; modules that import this need it installed."""

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="needs tests/requirements.txt")
strategies = hypothesis.strategies
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
