"""Hypothesis, with the same draws in every run."""

import hypothesis

strategies = hypothesis.strategies
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
