"""Recommending from the bundle."""
