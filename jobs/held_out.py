"""What a model knows of samples that it was not trained on, with the right pictures and with exchanged ones: a table, and a line of JSON."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trainer.heldout import HeldOut


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """Of `held_out.jsonl`: how many updates were done, and what was found in each set."""

    step: int
    sets: dict[str, HeldOut]


def write(out: Path, step: int, found: Mapping[str, HeldOut]) -> None:
    """Adds what was found after so many updates to `held_out.jsonl`."""
    with (out / "held_out.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(_Line(step=step, sets=dict(found))) + b"\n")


def last(out: Path) -> dict[str, HeldOut]:
    """What was found at the latest checkpoint."""
    *_, line = (out / "held_out.jsonl").read_bytes().splitlines()
    return msgspec.json.decode(line, type=_Line).sets


def table(found: Mapping[str, HeldOut]) -> str:
    """A line a set, which says where there is nothing to compare with."""
    lines = [f"{'held out, nats an example':27}{'examples':>10}{'right':>10}{'exchanged':>11}{'z':>8}"]
    lines += [
        f"{name:27}{one.examples:>10,}{one.right:>10.3f}"
        + ("  no media to exchange" if one.exchanged is None else f"{one.exchanged:>11.3f}{one.z:>8.1f}")
        for name, one in found.items()
    ]
    return "\n".join(lines)
