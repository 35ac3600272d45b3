"""The numbers of a run as tables for people."""

from rich.console import Console
from rich.table import Table

from schemas.manifest import FLOWS, Flow, Manifest


def print_summary(manifest: Manifest, console: Console, reasons: int = 12) -> None:
    """What came in, what is in the shards, and the most frequent reasons for what is not."""
    table = Table("", "came in", "kept", "dropped", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in FLOWS:
        flow: Flow = getattr(manifest, kind)
        if flow.entered:
            table.add_row(kind, f"{flow.entered:,}", f"{flow.kept:,}", f"{flow.lost:,}")
    console.print(table)
    console.print()
    if any(getattr(manifest, kind).lost for kind in FLOWS):
        console.print(_reasons(manifest, reasons))
        console.print()
    size = sum(shard.bytes for shard in manifest.shards)
    console.print(
        f"{manifest.pages.kept:,} documents with {manifest.images.kept:,} pictures and {manifest.words:,} words, {manifest.pairs.kept:,} pairs, "
        f"in {len(manifest.shards)} shards, {size / 1e6:,.1f} MB",
        highlight=False,
    )


def _reasons(manifest: Manifest, limit: int) -> Table:
    table = Table("stage", "dropped", "reason", "number", box=None, pad_edge=False, header_style="bold")
    table.columns[3].justify = "right"
    rows = [
        (number, stage, kind, reason)
        for kind in FLOWS
        for stage, counts in getattr(manifest, kind).dropped.items()
        for reason, number in counts.items()
    ]
    rows.sort(key=lambda row: (-row[0], row[1:]))
    for number, stage, kind, reason in rows[:limit]:
        table.add_row(stage, kind, reason, f"{number:,}")
    if len(rows) > limit:
        table.add_row("", "", f"{len(rows) - limit} more (m3w stats)", f"{sum(row[0] for row in rows[limit:]):,}")
    return table
