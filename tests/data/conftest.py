"""Fixtures of the tests of raw data."""

from tests.raw_folder import raw  # noqa: F401 (a fixture)
