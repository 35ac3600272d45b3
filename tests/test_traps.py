"""docs/training.md names for each known fault of trainers the tests that hold it off."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tests_of_traps_are_there() -> None:
    """Every trap has a test, and every test that is named exists."""
    traps = (ROOT / "docs" / "training.md").read_text().partition("## Traps")[2]
    written = {
        name
        for file in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    rows = [row for row in traps.splitlines() if row.startswith("| ") and not row.startswith("| |")]

    assert len(rows) > 30
    assert all("`test_" in row for row in rows)
    assert set(re.findall(r"`(test_\w+)`", traps)) <= written
