"""Fixtures of the tests of stages."""

from tests.raw_folder import raw  # noqa: F401 (a fixture)
