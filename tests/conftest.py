"""What all tests share: `--update-golden` writes the expected results anew, to be read in the diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption("--update-golden", action="store_true", help="write what golden tests expect anew")
