"""`python -m jobs` is `m3w`."""

from jobs.cli import script

script()
