"""What a model knows of samples that it was not trained on, with the right pictures and with exchanged ones: a table, and a line of JSON."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trainer.heldout import HeldOut


def write(out: Path, step: int, found: Mapping[str, HeldOut]) -> None:
    """Adds what was found after so many updates to `held_out.jsonl`."""
    with (out / "held_out.jsonl").open("ab") as file:
        file.write(msgspec.json.encode({"step": step, "sets": found}) + b"\n")


def table(found: Mapping[str, HeldOut]) -> str:
    """A line a set."""
    lines = [f"{'held out, nats an example':27}{'examples':>10}{'right':>10}{'exchanged':>11}{'z':>8}"]
    lines += [
        f"{name:27}{one.examples:>10,}{one.right:>10.3f}{one.exchanged:>11.3f}{one.z:>8.1f}"
        for name, one in found.items()
    ]
    return "\n".join(lines)
