"""Measurements beside peers, each a module to be run: `python -m tests.bench.NAME`."""
